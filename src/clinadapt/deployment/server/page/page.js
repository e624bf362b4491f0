// Sends requests to this server only. A note is always inserted as text, never as markup.
const TEXTS = {
  en: {
    title: "Classify a note",
    local: "The note is processed on this server and not stored. For research only: not a medical device.",
    token: "Token", tokenWhy: "Issued by your administrator; kept until this page is closed.",
    task: "Task", note: "Note", explain: "Highlight relevant words", ask: "Classify",
    raises: "raises", lowers: "lowers", unread: "not read", version: "Model",
    caution: "A word’s influence on the model is not its meaning for the patient.",
    synthetic: "Trained on synthetic notes: for trying out the program, not for patients.",
    working: "Classifying…", done: "Done.", threshold: "threshold",
    empty: "The result will appear here: the probability, how to interpret it, and the words that influenced it.",
    predicted: (classes) => classes.length ? `Predicted: ${classes.join(", ")}` : "No label predicted",
    left: "Left to a person: the model is not sure enough to answer",
    leftLabels: (classes) => `Left to a person: ${classes.join(", ")}.`,
    meter: (p, t) => t === null ? `probability ${p}` : `probability ${p}, threshold ${t}`,
    binary: (name, p, t, over) => `The probability of “${name}” is ${p}, ${over ? "at or above" : "below"} the threshold of ${t}, which was chosen on validation notes.`,
    multilabel: (t) => `A label is predicted from a probability of ${t}, a threshold that was chosen on validation notes.`,
    multiclass: "The most probable class is predicted; there is no threshold.",
    close: "This is close to the threshold: a small change would reverse the prediction.",
    calibrated: (e) => `On the test notes, probabilities were off by ${e} percentage points on average: for similar notes, they can be read as approximate frequencies.`,
    uncalibrated: (e) => `On the test notes, probabilities were off by ${e} percentage points on average: use them to rank notes, not as frequencies.`,
    unmeasured: "Calibration was not measured: use this number to rank notes, not as a frequency.",
    why: (name) => `Words that influenced “${name}”`,
    unauthorized: "This server requires a token: it is missing, wrong or expired.",
    too_large: "The note exceeds the size limit of this server.", too_slow: "The note did not arrive in time.",
    invalid: "The note is empty, too long, or contains nothing that the model can read.",
    too_many_requests: "Too many requests: wait a minute.", busy: "The server is busy: try again later.",
    stopping: "The server is shutting down.", time_limit: "The time limit was exceeded.",
    failed: "The model failed on this note.", unreachable: "The server cannot be reached.",
  },
  fr: {
    title: "Classer une note",
    local: "La note est traitée sur ce serveur et n’est pas conservée. Pour la recherche uniquement : ceci n’est pas un dispositif médical.",
    token: "Jeton", tokenWhy: "Fourni par votre administrateur ; conservé jusqu’à la fermeture de cette page.",
    task: "Tâche", note: "Note", explain: "Surligner les mots déterminants", ask: "Classer",
    raises: "augmente", lowers: "diminue", unread: "non lu", version: "Modèle",
    caution: "L’influence d’un mot sur le modèle n’est pas sa signification pour le patient.",
    synthetic: "Entraîné sur des notes synthétiques : pour essayer le programme, pas pour des patients.",
    working: "Classement…", done: "Terminé.", threshold: "seuil",
    empty: "Le résultat s’affichera ici : la probabilité, son interprétation et les mots qui l’ont influencée.",
    predicted: (classes) => classes.length ? `Prédiction : ${classes.join(", ")}` : "Aucune étiquette prédite",
    left: "À confier à une personne : le modèle n’est pas assez sûr pour répondre",
    leftLabels: (classes) => `À confier à une personne : ${classes.join(", ")}.`,
    meter: (p, t) => t === null ? `probabilité ${p}` : `probabilité ${p}, seuil ${t}`,
    binary: (name, p, t, over) => `La probabilité de « ${name} » est de ${p}, ${over ? "supérieure ou égale au" : "inférieure au"} seuil de ${t}, choisi sur des notes de validation.`,
    multilabel: (t) => `Une étiquette est prédite à partir d’une probabilité de ${t}, seuil choisi sur des notes de validation.`,
    multiclass: "La classe la plus probable est prédite ; il n’y a pas de seuil.",
    close: "C’est proche du seuil : un petit changement inverserait la prédiction.",
    calibrated: (e) => `Sur les notes de test, les probabilités s’écartaient de ${e} points de pourcentage en moyenne : pour des notes semblables, elles peuvent être lues comme des fréquences approximatives.`,
    uncalibrated: (e) => `Sur les notes de test, les probabilités s’écartaient de ${e} points de pourcentage en moyenne : elles servent à ordonner les notes, pas à estimer des fréquences.`,
    unmeasured: "La calibration n’a pas été mesurée : ce nombre sert à ordonner les notes, ce n’est pas une fréquence.",
    why: (name) => `Mots qui ont influencé « ${name} »`,
    unauthorized: "Ce serveur exige un jeton : il est absent, incorrect ou expiré.",
    too_large: "La note dépasse la taille maximale de ce serveur.", too_slow: "La note n’est pas arrivée à temps.",
    invalid: "La note est vide, trop longue, ou ne contient rien que le modèle puisse lire.",
    too_many_requests: "Trop de requêtes : attendez une minute.", busy: "Le serveur est occupé : réessayez plus tard.",
    stopping: "Le serveur est en cours d’arrêt.", time_limit: "Le délai est dépassé.",
    failed: "Le modèle a échoué sur cette note.", unreachable: "Le serveur est injoignable.",
  },
};
const LEAST_MARKED = 0.2, HEAVY = 0.5; // shares of the strongest contribution, as on the explanation page
const CALIBRATED = 0.05, CLOSE = 0.05;
const at = (id) => document.getElementById(id);
let language = navigator.language.startsWith("fr") ? "fr" : "en";
let served = [];
let shown = null; // the last answer with its task and note, to show it in another language
let message = null; // code of the last message
let latest = 0; // number of the last request: responses to earlier ones are not shown

const texts = () => TEXTS[language];
const number = (value, digits = 3) =>
  new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function report(code) {
  message = code;
  const problem = !["working", "done", null].includes(code);
  at("status").textContent = code === null ? "" : texts()[code] ?? texts().failed;
  at("status").className = problem ? "problem" : code === "done" ? "unseen" : ""; // the answer itself is visible
}

function speak(chosen) {
  language = chosen;
  document.documentElement.lang = language;
  for (const name of Object.keys(TEXTS)) at(name).setAttribute("aria-pressed", String(name === language));
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = texts()[node.dataset.text];
  document.title = `clinadapt – ${texts().title}`;
  report(message);
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
    // As long as the token field is empty, the field itself is enough.
    report(problem.message === "unauthorized" && !at("token").value ? null : problem.message);
    return false;
  }
  at("task").replaceChildren(...served.map((task) => element("option", { value: task.name, textContent: task.name })));
  offer();
  if (message === "unauthorized") report(null);
  return true;
}

const chosen = () => served.find((task) => task.name === at("task").value);

function offer() {
  at("explain-field").hidden = !chosen()?.explains;
}

async function classify() {
  const mine = ++latest;
  report("working");
  at("empty").hidden = at("result").hidden = true; // the last answer must not be mistaken for this one
  try {
    if (!served.length && !(await open())) return report("unauthorized");
    const task = chosen(), note = at("note").value;
    const explain = task.explains && at("explain").checked;
    const answer = await ask("/predict", { notes: [note], tasks: [task.name], explain });
    if (mine !== latest) return;
    shown = { note, task: answer.tasks[0], answer: answer.notes[0].answers[0] };
    show();
    report("done");
    at("prediction").scrollIntoView({ block: "nearest" }); // on a phone it is below the form
  } catch (problem) {
    if (mine !== latest) return;
    if (problem.message === "unauthorized") at("token-field").hidden = false;
    shown = null;
    report(problem.message);
  }
}

function show() {
  const { note, task, answer } = shown;
  const limit = task.threshold, chances = answer.probabilities;
  const names = task.kind === "binary" ? task.classes.slice(1) : task.classes;
  const spelled = limit === null ? null : number(limit);
  const left = answer.undecided ?? [], several = task.kind === "multilabel";
  at("prediction").textContent = left.length && !several ? texts().left : texts().predicted(answer.predicted.filter((name) => !left.includes(name)));
  at("synthetic").hidden = !task.synthetic;
  at("bars").replaceChildren(...names.map((name) => bar(name, chances[name], limit, answer.predicted.includes(name))));
  const lines = left.length && several ? [texts().leftLabels(left)] : [];
  if (task.kind === "multiclass") lines.push(texts().multiclass);
  else if (task.kind === "multilabel") lines.push(texts().multilabel(spelled));
  else lines.push(texts().binary(names[0], number(chances[names[0]]), spelled, chances[names[0]] >= limit));
  if (limit !== null && names.some((name) => Math.abs(chances[name] - limit) < CLOSE)) lines.push(texts().close);
  at("rule").textContent = lines.join(" ");
  at("meaning").textContent = meaning(task.calibration_error);
  at("words").hidden = !answer.explanation;
  if (answer.explanation) mark(note, answer.explanation);
  at("version").textContent = task.version.slice(0, 16);
  at("result").hidden = false;
}

function meaning(error) {
  if (error === null) return texts().unmeasured;
  const points = number(100 * error, 1);
  return error <= CALIBRATED ? texts().calibrated(points) : texts().uncalibrated(points);
}

function bar(name, chance, limit, predicted) {
  const fill = element("i"), meter = element("div", { className: "meter" }, fill);
  const spelled = limit === null ? null : number(limit);
  fill.style.setProperty("--at", chance);
  meter.setAttribute("role", "img");
  meter.setAttribute("aria-label", texts().meter(number(chance), spelled));
  const row = element(
    "div", { className: predicted ? "bar predicted" : "bar" },
    element("dt", { textContent: name }),
    element("dd", { className: "value", textContent: number(chance), ariaHidden: "true" }),
    element("dd", {}, meter),
  );
  if (limit !== null) {
    row.style.setProperty("--limit", Math.min(1, limit));
    meter.append(element("b"));
    const caption = element("span", { textContent: `${texts().threshold} ${spelled}` });
    row.append(element("dd", { className: "limit", ariaHidden: "true" }, caption));
  }
  return row;
}

function mark(note, explanation) {
  const characters = Array.from(note); // positions count characters, not UTF-16 units
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
    if (unread) pieces.push(element("span", { className: "unread", textContent: text, title: texts().unread }));
    else {
      const way = word.contribution > 0 ? "raises" : "lowers";
      const made = element("mark", { className: strength >= HEAVY ? `${way} heavy` : way, textContent: text });
      made.title = `${texts()[way]} (${word.contribution > 0 ? "+" : ""}${number(word.contribution)})`;
      made.style.setProperty("--strength", strength);
      pieces.push(made);
    }
    end = word.end;
  }
  pieces.push(part(end));
  at("why").textContent = texts().why(explanation.target);
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
for (const name of Object.keys(TEXTS)) at(name).addEventListener("click", () => speak(name));
speak(language);
open();
