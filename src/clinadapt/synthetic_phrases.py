"""Phrase banks of the built-in notes: what a French paediatric intensive care unit writes.

A phrase is a template. Between braces stand

- ``{name}``: a slot of the note being written (``{age}``), else a phrase of the bank `COMMON`;
- ``{a|b|}``: one of the alternatives, the last one empty here;
- ``{3..9}`` or ``{3.1..4.9}``: a number of that range (decimals are written with a comma).

``{c}`` is the condition that a phrase speaks of, ``{o}`` a second one. Every condition is a
feminine noun, as is "insuffisance cardiaque": whatever fills the slot, the phrase agrees, and
any phrase can speak of cardiac failure or of something else. "de", "le", "la" and "que" before
a vowel are elided afterwards.
"""

from typing import NamedTuple

Phrases = tuple[str, ...]


class Bank(NamedTuple):
    """Phrases that say the same of a condition, and the sections that they may stand in."""

    sections: tuple[str, ...]
    phrases: Phrases


# --- Conditions ------------------------------------------------------------------------------

CARDIAC_FAILURE: Phrases = (
    "insuffisance cardiaque",
    "insuffisance cardiaque {aiguë|congestive|gauche|droite|globale|à bas débit}",
    "IC{| aiguë| gauche| globale}",
    "{défaillance|décompensation|dysfonction} cardiaque",
    "insuf{.|} cardiaque",
    "insuffisance {ventriculaire gauche|myocardique|VG}",
)
OTHER_CONDITIONS: Phrases = (
    "insuffisance rénale{| aiguë| fonctionnelle}",
    "insuffisance respiratoire{| aiguë| globale}",
    "insuffisance {hépatique|surrénale|hépatocellulaire}",
    "défaillance {rénale|respiratoire|multiviscérale|hépatique}",
    "décompensation {respiratoire|acido-cétosique|métabolique}",
    "{HTAP|hypertension pulmonaire|HTAP post-capillaire}",
    "{myocardite|péricardite|endocardite|myopéricardite}",
    "arythmie{| cardiaque| auriculaire}",
    "malformation cardiaque",
    "tumeur cardiaque",
    "tachycardie {supraventriculaire|jonctionnelle|ventriculaire}",
    "cardiomyopathie {dilatée|hypertrophique|restrictive}",
    "{CIV|CIA|communication interventriculaire}",
    "{CAV|tétralogie de Fallot|coarctation de l'aorte}",
    "persistance du canal artériel",
    "pneumopathie{| virale| bactérienne| de inhalation}",
    "bronchiolite{| à VRS| grave}",
    "{embolie pulmonaire|thrombose cave|thrombose sur KT}",
    "{méningite|méningo-encéphalite|encéphalopathie}",
    "infection {urinaire|du cathéter|de paroi|à adénovirus}",
    "{déshydratation|acidose métabolique|hyponatrémie}",
    "maladie {de Kawasaki|métabolique|mitochondriale|de surcharge}",
    "anémie {hémolytique|carentielle|aiguë}",
    "{atélectasie|coqueluche|laryngite|pleurésie}",
)
FAMILY_CONDITIONS: Phrases = (
    "insuffisance {rénale|rénale chronique|respiratoire chronique|coronarienne}",
    "cardiomyopathie {dilatée|hypertrophique}",
    "{HTA|hypertension artérielle|dyslipidémie}",
    "{arythmie|malformation} cardiaque",
    "{épilepsie|drépanocytose|mucoviscidose|thalassémie|hémophilie}",
    "maladie {coeliaque|de Crohn|thyroïdienne|de Willebrand}",
    "{mort subite|fausse couche} {inexpliquée|dans la famille}",
)

# --- What is said of a condition -------------------------------------------------------------

PRESENT = Bank(
    ("conclusion", "evolution", "histoire"),
    (
        "{c}",
        "{c} {avérée|confirmée|retenue|certaine|documentée}",
        "{tableau|épisode|contexte} de {c}",
        "diagnostic de {c}{| retenu| posé| confirmé}",
        "évolution vers une {c}{| en quelques heures| sur {2..5} jours}",
        "{clinique|bilan|ensemble} compatible avec une {c}",
        "signes {cliniques|francs|indirects} de {c}",
        "{c} {sévère|modérée|débutante|mal tolérée|mixte}",
        "{c} toujours {présente|active|symptomatique} {ce jour|à J{2..12}}",
        "{c} suspectée {à l'entrée|aux urgences}, {confirmée|retrouvée} {exam}",
        "prise en charge de la {c}{| en cours| débutée}",
        "{c} persistante malgré {le traitement|la prise en charge|{2..6} jours de traitement}",
        "{il} garde une {c}",
    ),
)
ABSENT = Bank(
    ("conclusion", "examen", "evolution", "imagerie"),
    (
        "pas de {c}",
        "pas de signe{|s} {|clinique |patent |franc }de {c}",
        "{absence de|sans} {c}",
        "{c} {éliminée|écartée|exclue|infirmée}{| {exam}}",
        "aucun {argument|élément} {pour une|en faveur de une} {c}",
        "pas d'argument {clinique|échographique|biologique} pour une {c}",
        "ni {other}, ni {c}",
        "ni {c}, ni {other}",
        "pas de {other}, de {other} ni de {c}",
        "{c} : non",
        "{c} suspectée {à l'entrée|aux urgences}, {infirmée|non confirmée|non retrouvée} {exam}",
        "{c} {évoquée|discutée|crainte} {initialement|par le SAMU}, {non retenue|écartée}",
        "diagnostic de {c} {non retenu|écarté|abandonné}",
        "{clinique|bilan|ensemble} peu compatible avec une {c}",
        "{c} peu probable {vu|devant} {le bilan|la clinique|l'évolution}",
    ),
)
# The condition {c} is there, {o} is not: which is which is told by the order alone.
CONTRAST = Bank(
    ("conclusion", "imagerie", "evolution", "histoire"),
    (
        "{c} {retenue|confirmée}, {o} {éliminée|écartée}",
        "{o} {éliminée|écartée}, {c} {retenue|confirmée}",
        "pas de {o} mais {une |}{c}",
        "{c} mais pas de {o}",
        "{c} plutôt que {o}",
        "{c}, et non {o}",
        "{tableau|bilan|examen} en faveur de une {c}, {contre|et non de} une {o}",
        "{c} {sans|en l'absence de} {o}{| associée}",
        "{o} {d'abord |initialement |}{évoquée|suspectée}, {finalement|en fait|au final} {c}",
        "hypothèse de {o} {écartée|abandonnée} au profit de {c}",
        "{c} : oui, {o} : non",
        "discussion {o} / {c} : {exam} c'est la seconde hypothèse qui est retenue",
        "discussion {c} / {o} : {exam} c'est la première hypothèse qui est retenue",
        "{c} {exam}, qui élimine {une|la} {o}",
    ),
)
# Not there now: a risk, or something to look out for.
WATCHED = Bank(
    ("plan",),
    (
        "{risque|à risque} de {c}{| en cas de remplissage| si fièvre}, à surveiller",
        "{reconsulter|rappeler|réévaluer} si {signes|apparition} de {c}",
        "{ETT|contrôle|consultation} {dans|à} {2..9} {semaines|mois} pour dépister une {c}",
        "parents informés des signes de {c} devant faire consulter",
        "prévention de une {c} : {balance stricte|apports limités|surveillance du poids}",
    ),
)
PAST = Bank(
    ("antecedents",),
    (
        "{c} {past}{, résolue|, guérie| sans séquelle|, évolution favorable}",
        "ATCD de {c} {past}{, résolu| sans récidive|, guéri}",
        "hospitalisation {past} pour {c}, {guérie|résolue|ttt arrêté depuis}",
        "{c} {traitée|prise en charge} {past}, {plus de ttt|traitement arrêté|suivi terminé}",
        "{past} : {c}, {résolutive|régressive|sans suite}",
    ),
)
FAMILY = Bank(
    ("famille",),
    (
        "{parent} : {c}",
        "{c} chez {parent}",
        "{c} ({parent})",
        "{parent} {sous traitement|avec un suivi} pour {c}{|, fratrie RAS|, autre parent RAS}",
        "décès de {parent} {par|dans un contexte de} {c}",
        "{parent} et {parent} : {c}",
        "{c} {connue|à début tardif} chez {parent}, {fratrie saine|pas d'enquête génétique}",
    ),
)


class Sign(NamedTuple):
    """A sign of cardiac failure: found, not found, or found with another cause than the heart."""

    section: str
    found: Phrases
    absent: Phrases
    explained: Phrases


EJECTION_FRACTION = Sign(
    "imagerie",
    (
        "{ett} : FEVG {effondrée|altérée|très abaissée}{|, {18..35} %| à {18..35} %}",
        "{ett} : FEVG {18..36} %{|, VG dilaté|, IM {2..4}/4}",
        "FEVG {58..70} % {past}, {20..36} % ce jour",
        "{ett} : VG {dilaté|hypokinétique|très dilaté}, {FR {9..17} %|FEVG {20..36} %}",
    ),
    (
        "{ett} : FEVG {conservée|normale|non altérée}{|, {58..72} %}",
        "{ett} : FEVG {57..72} %{|, VG non dilaté|, pas d'IM}",
        "{ett} : VG {non dilaté|normocinétique}, FR {30..40} %",
    ),
    (
        "FEVG {20..36} % {past}, {58..70} % ce jour",
        "FEVG {effondrée|altérée} {past}, {normalisée|récupérée} depuis{|, {58..70} %}",
    ),
)
SIGNS: tuple[Sign, ...] = (
    Sign(
        "examen",
        (
            "{hépatomégalie à|HMG|foie débordant de} {2..6} cm{| sous le rebord costal}",
            "gros foie {sensible|ferme|palpé à {3..6} cm}",
        ),
        ("pas de HMG", "{pas d'|absence d'}hépatomégalie", "foie non palpé, pas de gros foie"),
        (
            "{hépatomégalie|HMG|gros foie} {2..5} cm {cause_foie}",
            "foie {abaissé|débordant} par la distension thoracique",
        ),
    ),
    Sign(
        "examen",
        (
            "{bruit de |}galop{| gauche}",
            "B3{| audible| net}, {BDC assourdis|tachycarde|souffle IM}",
        ),
        ("pas de {galop|B3}", "BDC réguliers sans {galop|B3}{| ni souffle}"),
        ("{galop|B3} {noté|entendu} {past}, {non retrouvé|disparu} ce jour",),
    ),
    Sign(
        "examen",
        (
            "oedèmes {des MI|déclives|palpébraux|diffus|prenant le godet}",
            "{turgescence jugulaire|TJ}{| et RHJ|, oedèmes}",
        ),
        ("pas d'oedème{s|}{| des MI| diffus| ni TJ}", "ni oedèmes, ni {TJ|turgescence jugulaire}"),
        ("oedèmes {des MI|diffus|palpébraux} {cause_oedeme}",),
    ),
    Sign(
        "examen",
        (
            "crépitants {des 2 bases|bilatéraux|diffus}, {pâleur|teint gris|orthopnée}",
            "extrémités froides, TRC {4..6} s, {pouls filants|marbrures|pouls faibles}",
        ),
        ("pas de crépitant{|s}", "extrémités chaudes, TRC {1..2} s"),
        (
            "crépitants {à droite|en foyer|du lobe inférieur} {cause_crepitant}",
            "extrémités froides, TRC {3..4} s, corrigé {par|après} {10..20} mL/kg de {NaCl|SSI}",
        ),
    ),
    Sign(
        "histoire",
        (
            "{sueurs|essoufflement} {aux biberons|à la tétée|à l'effort}{|, prise de poids rapide}",
            "{difficultés alimentaires|dyspnée d'effort} avec {sueurs|essoufflement}",
        ),
        ("pas de {sueurs|essoufflement} {aux biberons|à l'effort}", "boit bien, sans sueurs"),
        ("{sueurs|essoufflement} {aux biberons|à l'effort} {cause_sueur}",),
    ),
    EJECTION_FRACTION,
    Sign(
        "imagerie",
        (
            "RP : cardiomégalie{|, ICT 0,{60..75}|, surcharge vasculaire}",
            "{gros coeur|cardiomégalie} {et|avec} {oedème interstitiel|redistribution vasculaire}",
        ),
        ("RP : pas de cardiomégalie{|, ICT 0,{42..52}}", "silhouette cardiaque {normale|RAS}"),
        (
            "RP : {aspect de cardiomégalie|gros coeur} {lié au thymus|cliché couché|en expiration}",
            "cardiomégalie {past}, ICT normalisé",
        ),
    ),
    Sign(
        "biologie",
        ("{bnp} {1200..9800}{| pg/mL}", "{bnp} {très |}{élevé|augmenté}{|, {1500..8800}}"),
        ("{bnp} {18..95}{| pg/mL}", "{bnp} {normal|non augmenté|bas}{|, {20..90}}"),
        ("{bnp} {élevé|augmenté} {cause_bnp}", "{bnp} {1200..6000} {past}, {20..90} ce jour"),
    ),
    Sign(
        "traitement",
        (
            "{lasix} {1..4} mg/kg/j{| IV| IVSE| en continu}",
            "{lasix} {en continu|IVSE|majoré}{| pour décharge|, bonne diurèse}",
        ),
        ("pas de {diurétique|furosémide}", "{lasix} non {indiqué|nécessaire}"),
        (
            "{lasix} {1..3} mg/kg {IV|x{1..3}/j} {cause_lasix}",
            "{lasix} {arrêté|sevré} {past}",
        ),
    ),
    Sign(
        "traitement",
        (
            "{milrinone|dobutamine|milrinone + dobutamine} {en cours|IVSE|0,{3..9} µg/kg/min}",
            "inotropes : {milrinone|adrénaline|dobutamine|lévosimendan}{| débuté{|s}}",
            "{captopril|énalapril|bisoprolol|carvédilol|IEC} {débuté|majoré|poursuivi}",
        ),
        ("pas d'inotrope{|s}", "ni {milrinone|dobutamine}, ni {amine|inotrope}"),
        (
            "{milrinone|dobutamine} {cause_inotrope}",
            "{milrinone|captopril|bisoprolol|énalapril} {arrêté|sevré} {past}",
            "{captopril|énalapril|IEC} pour {HTA|protéinurie|HTA rénovasculaire}",
        ),
    ),
    Sign(
        "plan",
        (
            "{restriction hydrique|apports limités} {60..90} %, {balance négative|poids /j}",
            "{discuter|prévoir} {assistance|ECMO|bilan pré-greffe|inscription sur liste}",
        ),
        ("pas de restriction hydrique", "pas d'indication d'assistance"),
        ("{restriction hydrique|apports limités} {60..90} % {cause_restriction}",),
    ),
)

# --- The rest of the note --------------------------------------------------------------------

# Section: its titles. Titles of the history sections are always written, for they alone may tell
# whose disease it is, and when.
SECTIONS: dict[str, Phrases] = {
    "motif": ("Motif", "Motif d'admission", "MOTIF", "Raison de consultation", "Entrée"),
    "antecedents": (
        "ATCD",
        "Antécédents",
        "ATCD personnels",
        "ATCD médico-chir",
        "Antécédents perso",
    ),
    "famille": ("ATCD familiaux", "ATCD fam", "Famille", "Antécédents familiaux", "ATCDF"),
    "histoire": ("HDM", "Histoire de la maladie", "Histoire", "Anamnèse", "HMA"),
    "examen": ("Examen", "Ex. clinique", "E/P", "Examen clinique", "EXAMEN", "Clinique"),
    "biologie": ("Bio", "Biologie", "Labo", "Bilan", "BIO"),
    "imagerie": ("Imagerie", "Examens complémentaires", "Paraclinique", "Radio/écho", "Imag."),
    "traitement": ("Ttt", "Traitement", "TTT en cours", "Thérapeutique", "Rx"),
    "evolution": ("Évolution", "Evolution", "Évol", "Dans le service", "Suites"),
    "conclusion": ("Au total", "Conclusion", "Impression", "Synthèse", "Diagnostic", "AU TOTAL"),
    "plan": ("CAT", "Plan", "Conduite à tenir", "À faire", "Projet"),
}
TITLED_SECTIONS = frozenset({"antecedents", "famille"})

ADMISSION: Phrases = (
    "{enfant} de {age} {admis} {lieu} {pour|devant} {reason}",
    "{patient} de {age}, {kg} kg, {admis} {lieu} {pour|devant} {reason}",
    "{reason} chez {un_enfant} de {age}",
    "{admis} {lieu} à {age} pour {reason}{|, {origine}}",
    "{age}, {enfant}. {reason}",
    "{origine}, {enfant} de {age} : {reason}",
    "transfert {lieu} de {un_enfant} de {age} ({kg} kg) pour {reason}",
)
CARDIAC_REASONS: Phrases = (
    "surveillance {post-opératoire|post-op J{0..4}} de {cure|fermeture} de {CIV|CIA|CAV|canal}",
    "choc {|cardiogénique ou septique |mal étiqueté }",
    "{dyspnée|malaise|cyanose|mauvaise prise pondérale} sur cardiopathie {connue|opérée}",
    "{trouble du rythme|tachycardie|palpitations|DRS{| et malaise}}",
    "bilan de {souffle cardiaque|cardiomégalie|cardiomyopathie|myocardite}",
    "{DRS|tachypnée|syncope} {fébrile|d'effort|depuis {2..9} j}",
    "surveillance après {cathétérisme|arrêt cardiaque récupéré|ablation|dilatation aortique}",
)
GENERAL_REASONS: Phrases = (
    "détresse respiratoire{| fébrile| aiguë| sur virose}",
    "{choc|sepsis} {septique|sévère|à point de départ {urinaire|digestif|pulmonaire}}",
    "{état de mal|convulsions fébriles|crise convulsive|troubles de la conscience}",
    "{AVP|chute de {2..6} mètres|trauma crânien|polytraumatisme}",
    "{gastro-entérite|vomissements} avec {déshydratation|refus alimentaire|perte de {5..12} %}",
    "{acidocétose|DKA|hypoglycémie|malaise} {inaugurale|sévère|avec somnolence}",
    "surveillance {post-op|J{0..3}} de {scoliose|hernie diaphragmatique|appendicite|tumeur}",
    "{tachypnée|polypnée|désaturation|apnées} {fébrile|depuis {2..9} jours|de survenue brutale}",
    "{insuffisance rénale|SHU|anurie|prise de poids avec oligurie}",
    "{asthme aigu grave|laryngite|bronchiolite|pneumonie} {oxygénodépendante|à J{2..5}}",
)
FILLERS: dict[str, Phrases] = {
    "antecedents": (
        "né{e} à {28..41} SA, PN {1.1..4.2} kg, Apgar {6..9}/10",
        "{prématurité|terme} {30..41} SA, {séjour en néonat|adaptation correcte|CPAP {1..6} j}",
        "vaccins {à jour|incomplets|non vérifiés}, {allergie : 0|pas d'allergie connue}",
        "{chirurgie|opération} {past} : {geste}",
        "{grossesse|G{1..4}P{1..4}} {sans particularité|suivie|marquée par {un RCIU|un diabète}}",
        "développement {normal|en retard|limite}, {crèche|nounou|scolarisé{e}|à la maison}",
        "{trisomie 21|délétion 22q11|pas de syndrome connu|caryotype normal}",
    ),
    "famille": (
        "{parent} {RAS|en bonne santé|asthmatique|migraineux}",
        "{pas de consanguinité|parents consanguins}, {fratrie de {1..5}|enfant unique}",
    ),
    "histoire": (
        "début {il y a|depuis} {2..9} {jours|j} par {symptom} et {symptom}",
        "{symptom} depuis {2..9} {jours|heures}, puis {symptom} {cette nuit|hier|ce matin}",
        "{vu{e}|consulte} {aux urgences|chez le MT} à J{1..5} : {drug_out}{|, sans amélioration}",
        "{biberons|repas|apports} {réduits de moitié|aux 2/3|à {40..120} mL|conservés}",
        "{contage|contact} {viral|COVID|grippal} {dans la fratrie|à la crèche|à l'école|non vu}",
        "{SAMU|ambulance|parents} : {symptom}, {O2 {1..9} L|remplissage {10..20} mL/kg|scope}",
        "T° {38.1..40.2} {la veille|à domicile|max}, {symptom}",
        "pas de {symptom} ni de {symptom} {rapporté|selon les parents|d'après la mère}",
    ),
    "examen": (
        "FC {fc}, TA {72..118}/{38..69}, FR {20..68}, SpO2 {88..100} % {support}",
        "FC {fc}/min, SpO2 {89..100} % {support}, T° {36.1..39.6}",
        "TA {70..119}/{36..70} (PAM {48..80}), FC {fc}, diurèse {0.4..4.8} mL/kg/h",
        "poids {kg} kg, {T° {36.2..39.4}|taille au P{3..97}|PC normal}",
        "auscult. pulm. : {breath}{|, {breath}}",
        "{tirage|SDR} {intercostal|sous-costal|léger}, {FR {30..70}|geignard{e}}",
        "souffle {systolique|continu|holosystolique} {1..4}/6 {mitral|sous-clav|irradiant}",
        "abdomen {souple|ballonné|sensible}, {transit présent|BHA +|pas de masse|stomie propre}",
        "{Glasgow|GCS} {9..15}, pupilles {égales|{2..4} mm}, FA {normotendue|fermée|bombée}",
        "{éveillé{e}|sédaté{e}|hypotonique|geignard{e}}, {contact bon|COMFORT {10..22}}",
        "{cicatrice|pansement|redon} {propre|peu productif|souillé}, {drain|KT} {g|dr} {5..90} mL",
        "{ORL|otoscopie|gorge} {RAS|inflammatoire|otite {g|dr}|non vue}, {rash|purpura 0}",
        "pouls {fémoraux|périph} {perçus|faibles à G|symétriques}, {souffle 0|4 membres : RAS}",
    ),
    "biologie": (
        "Hb {72..148}, GB {3.1..28.4}, plq {48..520}",
        "CRP {2..240}, PCT {0.1..38.0}",
        "Na {126..149}, K {2.6..5.9}, créat {18..140}, urée {1.8..19.0}",
        "{GDS|gaz} {veineux|capillaires|artériels} : pH 7,{12..48}, pCO2 {28..79}, BE -{1..12}",
        "lactates {0.7..6.8}, ASAT {20..380}, ALAT {12..340}",
        "{troponine|tropo} {3..900}, CK {60..2400}",
        "{hémoc|ECBU|PL|LBA} {stérile|en cours|négative à H{24..72}|à {germe}}",
        "{PCR|VRS|multiplex} {négative|positive à {virus}|{virus} +}",
        "glycémie {2.4..22.0}, Ca {1.7..2.6}, Mg {0.5..1.1}",
        "TP {38..100} %, fibri {1.2..6.8}, D-dimères {300..4900}",
    ),
    "imagerie": (
        "RP : {lung}{|, {lung}}{|, sonde en place}",
        "écho {abdo|rénale|TF|pleurale} : {RAS|lame {minime|{5..22} mm}|reins {N|gros}}",
        "ECG : {sinusal {fc}/min|BBD|repol {normale|troublée}|QTc {380..480}}{|, axe {20..120}°}",
        "{TDM|IRM} {cérébral|thoracique|abdo} : {sans anomalie|RAS|à relire|demandé{|e}}",
        "EEG : {tracé {lent|normal}|pointes {g|dr}|pas de crise|contrôle à H{12..48}}",
        "{ett} : {PAPs {20..75} mmHg|pas d'épanchement|CIV {2..9} mm|CIA {3..12} mm|coronaires N}",
        "{ett} faite {par le cardiologue|au lit|hier soir}, {peu échogène|à recontrôler J{2..7}}",
    ),
    "traitement": (
        "{abx} {30..200} mg/kg/j, J{1..10}{|, à revoir selon hémoc}",
        "{VNI|OHD|CPAP|lunettes|VC} {2..40} L/min, FiO2 {21..80} %",
        "{paracétamol|morphine|midazolam|kétamine} {15..60} {x4/j|µg/kg/h|si besoin}",
        "{NE|nutrition entérale|NPT|reprise PO} {20..160} mL/kg/j, {bien tolérée|résidus ++}",
        "{salbutamol|aérosols|corticoïdes|méthylpred} {x{3..8}/j|J{1..5}|sevrage en cours}",
        "remplissage {NaCl|SSI|albumine} {10..40} mL/kg, {bonne réponse|noradré 0,{1..9}}",
        "KT {jugulaire|fémoral|central} {g|dr} J{1..12}, {SNG|SV|PA sanglante} en place",
        "{kiné|aspiration|DRP} {x{2..6}/j|si besoin}, {sécrétions {épaisses|claires}|bien tolérée}",
        "{intubé{e}|ventilé{e}} {VAC|VACI|VS-AI}, PEP {4..9}, Vt {5..9} mL/kg, FiO2 {25..75} %",
        "{spironolactone|oméprazole|vit D|fer|aspirine|lévétiracétam} {1..20} mg/{kg|j}",
    ),
    "evolution": (
        "J{1..9} : {progress}, {progress}",
        "{progress} {depuis hier|sur 24 h|depuis J{1..6}}",
        "sevrage {de la VNI|de O2|de la sédation|des amines} {à J{2..9}|en cours|difficile}",
        "extubé{e} {à J{2..9}|ce matin|sans difficulté}, {stridor|VNI relais|OHD {4..20} L}",
        "{apyrétique|fébrile {38.2..39.9}} depuis {12..72} h, {progress}",
        "balance {+|-}{40..480} mL/24h, diurèse {0.6..5.2}, poids {stable|{+|-}{50..400} g}",
    ),
    "plan": (
        "{bilan|iono|NFS|GDS|RP} {demain|à {6..23}h|dans {12..48} h}, {poursuite ttt|à revoir}",
        "avis {cardio|néphro|neuro|infectio|chir|génétique} {demandé|à prévoir|pris ce jour}",
        "{sortie|transfert} {en pédiatrie|à domicile|vers CH d'origine} {J{2..9}|si stable|demain}",
        "{parents informés|mère vue|famille présente}, {d'accord avec le projet|interprète}",
        "{RDV|contrôle|consult} {pneumo|cardio|MT|neuro} {dans|à} {1..8} {semaines|mois|sem}",
        "surveillance {scope|neuro|diurèse|glycémies} /{1..6} h, {rappeler si {symptom}|seuils OK}",
    ),
}

COMMON: dict[str, Phrases] = {
    "other": OTHER_CONDITIONS,
    "admis": ("admis{e}", "hospitalisé{e}", "adressé{e}", "transféré{e}", "pris{e} en charge"),
    "lieu": ("à l'USIP", "en réa péd", "en réanimation pédiatrique", "aux SI", "en USIP", "en USC"),
    "origine": (
        "venant {du CH|des urgences|du bloc|de la salle|de la néonat}",
        "{transport|amené{e} par le} {SMUR|SAMU|hélico}",
    ),
    "parent": (
        "{son |}père", "{sa |}mère", "{un |}oncle{| paternel| maternel}", "{une |}tante",
        "{son |}grand-père{| pat| mat}", "{sa |}grand-mère{| pat| mat}", "{un |}frère",
        "{une |}soeur", "{un |}cousin", "{sa |}GM", "{son |}GP",
    ),
    "exam": ("à l'ETT", "au bilan", "à l'écho", "par la cardio", "au contrôle", "cliniquement"),
    "ett": ("ETT", "Écho coeur", "échographie cardiaque", "echo cardiaque", "ETT J{1..6}", "écho"),
    "bnp": ("BNP", "NT-proBNP", "NTproBNP", "proBNP"),
    "lasix": ("furosémide", "Lasix", "lasilix", "Lasilix"),
    "symptom": (
        "toux", "fièvre", "rhinite", "vomissements", "diarrhée", "polypnée", "somnolence",
        "refus alimentaire", "sueurs", "pâleur", "cyanose", "geignement", "éruption", "apnées",
        "douleurs abdominales", "céphalées", "irritabilité", "DRS", "malaise", "essoufflement",
        "hypotonie", "oligurie", "marbrures", "prise de poids", "pauses", "asthénie",
    ),
    "drug_out": (
        "amoxicilline", "Augmentin", "paracétamol", "Ventoline", "SRO", "DRP", "bétaméthasone",
        "retour à domicile", "surveillance simple", "ibuprofène",
    ),
    "support": (
        "AA", "en AA", "sous O2 {1..6} L", "lunettes {1..4} L", "OHD {6..30} L", "VNI",
        "FiO2 {25..80} %", "intubé{e}",
    ),
    "breath": (
        "MV symétrique", "MV diminué {à g|à dr|aux bases}", "sibilants {diffus|expi}", "ronchi",
        "ampliation correcte", "râles bronchiques", "crépitants {g|dr|en base}", "libre",
        "freinage expi", "stridor {léger|0}",
    ),
    "lung": (
        "foyer {LID|LSD|LIG|lingula}", "distension", "sd interstitiel {bilatéral|modéré}", "RAS",
        "atélectasie {g|dr|LSD}", "épanchement pleural {g|dr} {minime|modéré}", "ICT 0,{44..62}",
        "pas de PNO", "opacités {bilatérales|en base dr}", "surcharge {hilaire|vasculaire}",
    ),
    "progress": (
        "amélioration respiratoire", "stabilité HD", "reprise de diurèse", "meilleure mine",
        "aggravation {respiratoire|nocturne}", "désat à {70..88} %", "bonne tolérance alimentaire",
        "hypotension {brève|répondant au remplissage}", "agité{e} la nuit", "O2 en baisse",
        "lactates en baisse", "oligurie", "pas de convulsion", "transit repris", "bradycardies",
        "pic fébrile", "dyspnée stable",
    ),
    "abx": (
        "céfotaxime", "amoxicilline", "Augmentin", "vancomycine", "Tazocilline", "céfazoline",
        "gentamicine", "ceftriaxone", "méropénème", "Bactrim",
    ),
    "germe": ("SAMS", "E. coli", "pneumocoque", "BGN", "SCN", "Haemophilus"),
    "virus": ("VRS", "rhinovirus", "grippe A", "métapneumovirus", "adénovirus", "parainfluenza"),
    "geste": (
        "cure de {CIV|hernie|coarctation|reflux|CAV}", "appendicectomie", "valve de dérivation",
        "{ligature|fermeture} du canal", "gastrostomie", "adénoïdectomie", "cerclage", "iléostomie",
    ),
    "cause_foie": (
        "{dans le cadre de|liée à|sur} {l'EBV|l'infection virale|l'hépatite}",
        "de {stockage|surcharge glycogénique}", "connue depuis la chimio", "sur distension",
    ),
    "cause_oedeme": (
        "{sur|liés à} {l'hypoalbuminémie|sd néphrotique|l'insuffisance rénale}",
        "{post-CEC|post-remplissage|de dénutrition}", "allergiques", "sur fuite capillaire",
    ),
    "cause_crepitant": ("sur pneumopathie", "avec foyer radio", "post-inhalation", "d'atélectasie"),
    "cause_sueur": ("lors de la fièvre", "par obstruction nasale", "sur anémie", "avant chirurgie"),
    "cause_bnp": (
        "sur {insuffisance rénale|sepsis|HTAP}", "en post-CEC immédiat", "sur Kawasaki",
        "(nouveau-né, dialyse)",
    ),
    "cause_lasix": (
        "pour {balance positive|surcharge post-remplissage|oligurie sur IRA|HTA|sd néphrotique}",
        "avec {l'albumine|la transfusion}", "pour {hypercalcémie|relance de diurèse|BDP}",
    ),
    "cause_inotrope": (
        "{en |}prophylactique post-CEC, arrêt à H{12..48}", "pour HTAP{| seule}", "test au KT",
        "préparée, non {débutée|utilisée}", "pour vasoplégie du sepsis",
    ),
    "cause_restriction": ("pour {SIADH|anurie|hyponatrémie|BDP}", "post-op systématique"),
}  # fmt: skip
