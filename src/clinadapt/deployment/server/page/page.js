// Asks this server, and nobody else. A note is only ever written as text, never as markup.
const SAY = {
  en: {
    title: "Classify a note",
    local: "The note is read on this server and kept nowhere. For research: not a medical device.",
    token: "Token", tokenWhy: "Made by your administrator; kept until this page is closed.",
    task: "Task", note: "Note", explain: "Mark the words that count", ask: "Classify",
    raises: "raises", lowers: "lowers", unread: "not read", version: "Model",
    caution: "What the model did with a word is not what the word means for the patient.",
    synthetic: "Fitted on synthetic notes: for trying the program, not for patients.",
    working: "Reading…", done: "Done.", threshold: "threshold",
    empty: "The answer will appear here: the probability, what it may be taken for, and the words that moved it.",
    says: (classes) => classes.length ? `The model says: ${classes.join(", ")}` : "The model says none of the labels",
    meter: (p, t) => t === null ? `probability ${p}` : `probability ${p}, threshold ${t}`,
    binary: (name, p, t, over) => `“${name}” has ${p}, ${over ? "at or above" : "below"} the threshold of ${t}, which was chosen on validation notes.`,
    multilabel: (t) => `A label is said from ${t} on, a threshold that was chosen on validation notes.`,
    multiclass: "The most probable class is said; there is no threshold.",
    close: "It is close to the threshold: little would turn it.",
    calibrated: (e) => `On the test notes such numbers were off by ${e} points on average: among notes like those, they can be read as frequencies, roughly.`,
    uncalibrated: (e) => `On the test notes such numbers were off by ${e} points on average: they rank notes, and are no frequencies.`,
    unmeasured: "Whether this number is a frequency was not measured: read it as a score that ranks notes.",
    why: (name) => `Words that moved “${name}”`,
    unauthorized: "This server needs a token, and this one is missing, wrong or expired.",
    too_large: "The note is too long for this server.", too_slow: "The note did not arrive in time.",
    invalid: "The note is empty or too long, or holds nothing that the model can read.",
    too_many_requests: "Too many requests: wait a minute.", busy: "The server is busy: try again soon.",
    stopping: "The server is stopping.", time_limit: "The model took too long.",
    failed: "The model failed on this note.", unreachable: "The server does not answer.",
  },
  fr: {
    title: "Classer une note",
    local: "La note est lue sur ce serveur et n’est conservée nulle part. Pour la recherche : ceci n’est pas un dispositif médical.",
    token: "Jeton", tokenWhy: "Remis par votre administrateur ; gardé jusqu’à la fermeture de cette page.",
    task: "Tâche", note: "Note", explain: "Marquer les mots qui comptent", ask: "Classer",
    raises: "augmente", lowers: "diminue", unread: "non lu", version: "Modèle",
    caution: "Ce que le modèle fait d’un mot n’est pas ce que ce mot signifie pour le patient.",
    synthetic: "Appris sur des notes synthétiques : pour essayer le programme, pas pour des patients.",
    working: "Lecture…", done: "Terminé.", threshold: "seuil",
    empty: "La réponse s’affichera ici : la probabilité, la façon de la lire, et les mots qui ont compté.",
    says: (classes) => classes.length ? `Le modèle dit : ${classes.join(", ")}` : "Le modèle ne dit aucune étiquette",
    meter: (p, t) => t === null ? `probabilité ${p}` : `probabilité ${p}, seuil ${t}`,
    binary: (name, p, t, over) => `« ${name} » obtient ${p}, ${over ? "soit au moins" : "moins que"} le seuil de ${t}, choisi sur des notes de validation.`,
    multilabel: (t) => `Une étiquette est dite à partir de ${t}, seuil choisi sur des notes de validation.`,
    multiclass: "La classe la plus probable est dite ; il n’y a pas de seuil.",
    close: "C’est proche du seuil : peu de chose l’aurait fait basculer.",
    calibrated: (e) => `Sur les notes de test, ces nombres s’écartaient de ${e} points en moyenne : pour des notes semblables, on peut les lire comme des fréquences, à peu près.`,
    uncalibrated: (e) => `Sur les notes de test, ces nombres s’écartaient de ${e} points en moyenne : ils ordonnent les notes, ce ne sont pas des fréquences.`,
    unmeasured: "On n’a pas mesuré si ce nombre est une fréquence : lisez-le comme un score qui ordonne les notes.",
    why: (name) => `Mots qui ont compté pour « ${name} »`,
    unauthorized: "Ce serveur demande un jeton ; il manque, est faux ou a expiré.",
    too_large: "La note est trop longue pour ce serveur.", too_slow: "La note n’est pas arrivée à temps.",
    invalid: "La note est vide ou trop longue, ou le modèle n’y trouve rien à lire.",
    too_many_requests: "Trop de demandes : attendez une minute.", busy: "Le serveur est occupé : réessayez bientôt.",
    stopping: "Le serveur s’arrête.", time_limit: "Le modèle a mis trop de temps.",
    failed: "Le modèle a échoué sur cette note.", unreachable: "Le serveur ne répond pas.",
  },
};
const LEAST_MARKED = 0.2, HEAVY = 0.5; // of the strongest word, as on the pages of explanations
const CALIBRATED = 0.05, CLOSE = 0.05;
const at = (id) => document.getElementById(id);
let language = navigator.language.startsWith("fr") ? "fr" : "en";
let served = [];
let shown = null; // the last answer, its task and its note, for another language
let said = null; // code of the last message
let asked = 0; // number of the last question: answers to earlier ones are not shown

const say = () => SAY[language];
const number = (value, digits = 3) =>
  new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function tell(code) {
  said = code;
  const problem = !["working", "done", null].includes(code);
  at("status").textContent = code === null ? "" : say()[code] ?? say().failed;
  at("status").className = problem ? "problem" : code === "done" ? "unseen" : ""; // the answer shows it
}

function speak(chosen) {
  language = chosen;
  document.documentElement.lang = language;
  for (const name of Object.keys(SAY)) at(name).setAttribute("aria-pressed", String(name === language));
  for (const found of document.querySelectorAll("[data-say]")) found.textContent = say()[found.dataset.say];
  document.title = `clinadapt – ${say().title}`;
  tell(said);
  if (shown) show();
}

async function ask(path, body) {
  const headers = { "Content-Type": "application/json" };
  if (at("token").value) headers.Authorization = `Bearer ${at("token").value}`;
  const options = { headers, cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer" };
  let answer;
  try {
    answer = await fetch(path, body ? { ...options, method: "POST", body: JSON.stringify(body) } : options);
  } catch {
    throw new Error("unreachable");
  }
  const content = await answer.json().catch(() => ({ error: "failed" }));
  if (!answer.ok) throw new Error(content.error);
  return content;
}

async function open() {
  try {
    served = (await ask("/tasks")).tasks;
  } catch (problem) {
    if (problem.message === "unauthorized") at("token-field").hidden = false;
    // Before anything was typed, an empty field says enough.
    tell(problem.message === "unauthorized" && !at("token").value ? null : problem.message);
    return false;
  }
  at("task").replaceChildren(...served.map((task) => element("option", { value: task.name, textContent: task.name })));
  offer();
  if (said === "unauthorized") tell(null);
  return true;
}

const chosen = () => served.find((task) => task.name === at("task").value);

function offer() {
  at("explain-field").hidden = !chosen()?.explains;
}

async function classify() {
  const mine = ++asked;
  tell("working");
  at("empty").hidden = at("result").hidden = true; // nobody should take the last answer for this one
  try {
    if (!served.length && !(await open())) return tell("unauthorized");
    const task = chosen(), note = at("note").value;
    const explain = task.explains && at("explain").checked;
    const answer = await ask("/predict", { notes: [note], tasks: [task.name], explain });
    if (mine !== asked) return;
    shown = { note, task: answer.tasks[0], answer: answer.notes[0].answers[0] };
    show();
    tell("done");
    at("said").scrollIntoView({ block: "nearest" }); // on a phone it is below the form
  } catch (problem) {
    if (mine !== asked) return;
    if (problem.message === "unauthorized") at("token-field").hidden = false;
    shown = null;
    tell(problem.message);
  }
}

function show() {
  const { note, task, answer } = shown;
  const limit = task.threshold, chances = answer.probabilities;
  const names = task.kind === "binary" ? task.classes.slice(1) : task.classes;
  const spelled = limit === null ? null : number(limit);
  at("said").textContent = say().says(answer.predicted);
  at("synthetic").hidden = !task.synthetic;
  at("bars").replaceChildren(...names.map((name) => bar(name, chances[name], limit, answer.predicted.includes(name))));
  const lines = [];
  if (task.kind === "multiclass") lines.push(say().multiclass);
  else if (task.kind === "multilabel") lines.push(say().multilabel(spelled));
  else lines.push(say().binary(names[0], number(chances[names[0]]), spelled, chances[names[0]] >= limit));
  if (limit !== null && names.some((name) => Math.abs(chances[name] - limit) < CLOSE)) lines.push(say().close);
  at("rule").textContent = lines.join(" ");
  at("meaning").textContent = meaning(task.calibration_error);
  at("words").hidden = !answer.explanation;
  if (answer.explanation) mark(note, answer.explanation);
  at("version").textContent = task.version.slice(0, 16);
  at("result").hidden = false;
}

function meaning(error) {
  if (error === null) return say().unmeasured;
  const points = number(100 * error, 1);
  return error <= CALIBRATED ? say().calibrated(points) : say().uncalibrated(points);
}

function bar(name, chance, limit, carried) {
  const fill = element("i"), meter = element("div", { className: "meter" }, fill);
  const spelled = limit === null ? null : number(limit);
  fill.style.setProperty("--at", chance);
  meter.setAttribute("role", "img");
  meter.setAttribute("aria-label", say().meter(number(chance), spelled));
  const row = element(
    "div", { className: carried ? "bar said" : "bar" },
    element("dt", { textContent: name }),
    element("dd", { className: "value", textContent: number(chance), ariaHidden: "true" }),
    element("dd", {}, meter),
  );
  if (limit !== null) {
    row.style.setProperty("--limit", Math.min(1, limit));
    meter.append(element("b"));
    const told = element("span", { textContent: `${say().threshold} ${spelled}` });
    row.append(element("dd", { className: "limit", ariaHidden: "true" }, told));
  }
  return row;
}

function mark(note, explanation) {
  const characters = Array.from(note); // places are counted in characters, not in UTF-16 units
  const part = (start, end) => characters.slice(start, end).join("");
  const largest = Math.max(...explanation.words.map((word) => Math.abs(word.contribution ?? 0)), 0) || 1;
  const pieces = [];
  let end = 0;
  for (const word of explanation.words) {
    const strength = Math.abs(word.contribution ?? 0) / largest;
    const unread = word.contribution === null;
    if (!unread && strength < LEAST_MARKED) continue;
    pieces.push(part(end, word.start));
    const text = part(word.start, word.end);
    if (unread) pieces.push(element("span", { className: "unread", textContent: text, title: say().unread }));
    else {
      const way = word.contribution > 0 ? "raises" : "lowers";
      const made = element("mark", { className: strength >= HEAVY ? `${way} heavy` : way, textContent: text });
      made.title = `${say()[way]} (${word.contribution > 0 ? "+" : ""}${number(word.contribution)})`;
      made.style.setProperty("--strength", strength);
      pieces.push(made);
    }
    end = word.end;
  }
  pieces.push(part(end));
  at("why").textContent = say().why(explanation.target);
  at("marked").replaceChildren(...pieces);
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  classify();
});
at("task").addEventListener("change", () => {
  offer();
  if (shown) classify();
});
at("token").addEventListener("change", () => served.length || open());
for (const name of Object.keys(SAY)) at(name).addEventListener("click", () => speak(name));
speak(language);
open();
