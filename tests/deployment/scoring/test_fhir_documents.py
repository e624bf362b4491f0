"""Which documents are scored, and what their text is."""

import pytest
from documents import attachment, document

from clinadapt.deployment.scoring import fhir_documents
from clinadapt.deployment.scoring.fhir_documents import NotScorableError, text_of

PAGE = "<html><body><p>fi&egrave;vre &amp; toux</p><script>x()</script></body></html>"
RICH = r"{\rtf1\ansi\ansicpg1252 fi\'e8vre\par toux}"


def text(resource, convert=False, binaries=None):
    return text_of(resource, (binaries or {}).get, convert)


def reason(resource, convert=False):
    with pytest.raises(NotScorableError) as refusal:
        text(resource, convert)
    return str(refusal.value)


def report(*forms, **further):
    forms = [form["attachment"] for form in forms]
    return {"resourceType": "DiagnosticReport", "id": "r", "presentedForm": forms, **further}


@pytest.mark.parametrize(
    ("make", "field", "code", "is_scored"),
    [
        (document, "status", "current", True),
        (document, "status", "superseded", False),
        (document, "status", "entered-in-error", False),
        (document, "status", "Current", False),
        (document, "status", ["current"], False),
        (document, "docStatus", "final", True),
        (document, "docStatus", "amended", True),
        (document, "docStatus", "preliminary", False),
        (document, "docStatus", "entered-in-error", False),
        (document, "docStatus", "cancelled", False),
        (lambda _, *forms, **further: report(*forms, **further), "status", "final", True),
        (lambda _, *forms, **further: report(*forms, **further), "status", "corrected", True),
        (lambda _, *forms, **further: report(*forms, **further), "status", "partial", False),
        (lambda _, *forms, **further: report(*forms, **further), "status", "unknown", False),
    ],
)
def test_status(make, field, code, is_scored):
    resource = make("a", attachment("toux"), **{field: code})
    if is_scored:
        assert text(resource) == "toux"
    else:
        known = isinstance(code, str) and code.islower()
        assert reason(resource) == f"the {field} is {code if known else 'not a known code'}"


def test_a_status_that_is_text_is_not_quoted():
    assert "fièvre" not in reason(document("a", attachment("x"), status="fièvre depuis hier"))


@pytest.mark.parametrize(
    ("content", "actual"),
    [
        (RICH, "RTF"),
        (f"\ufeff \n{RICH}", "RTF"),
        (PAGE, "HTML"),
        ("<p class='x'>toux</p>", "HTML"),
        ("<!-- x --><div>toux</div>", "HTML"),
        ("<?xml version='1.0'?><html xmlns='x'/>", "HTML"),
        ("<?xml version='1.0'?><ClinicalDocument/>", "XML"),
        ("<ClinicalDocument xmlns='urn:hl7-org:v3'/>", "XML"),
        ("%PDF-1.7", "PDF"),
        ("PK\x03\x04", "a compressed file"),
    ],
)
def test_what_only_calls_itself_plain_text(content, actual):
    assert reason(document("a", attachment(content))).endswith(f"but is {actual}")


@pytest.mark.parametrize(
    "content", ["<5 mg de paracétamol", "a < b > c", "{rtf} toux", "<- voir", "% PDF"]
)
def test_plain_text_that_resembles_markup(content):
    assert text(document("a", attachment(content))) == content


@pytest.mark.parametrize(
    "kind", ["html", "RTF", "plain text", "", "text/", 3, None, ["text/plain"]]
)
def test_what_is_no_media_type(kind):
    assert reason(document("a", attachment("toux", kind))) == fhir_documents.NO_PLAIN_TEXT


@pytest.mark.parametrize("kind", ["TEXT/PLAIN", 'text/plain;charset="UTF-8"', " text/plain "])
def test_media_types_of_plain_text(kind):
    assert text(document("a", attachment("fièvre", kind))) == "fièvre"


def test_utf_16():
    named = attachment("fièvre", "text/plain; charset=utf-16", "utf-16")
    assert text(document("a", named)) == "fièvre"
    marked = attachment("fièvre", "text/plain", "utf-16")
    assert text(document("a", marked)) == "fièvre"
    unmarked = attachment("toux", "text/plain", "utf-16-le")
    assert reason(document("a", unmarked)) == fhir_documents.OTHER_CHARSET


class TestConversion:
    def test_is_only_done_when_asked(self):
        page, rich = attachment(PAGE, "text/html"), attachment(RICH, "text/rtf")
        assert reason(document("a", page)) == "only in HTML, which --convert turns into text"
        assert "only in HTML and RTF" in reason(document("a", rich, page))

    @pytest.mark.parametrize("kind", ["text/html", "application/xhtml+xml", "text/plain"])
    def test_html(self, kind):
        assert text(document("a", attachment(PAGE, kind)), True) == "fièvre & toux"

    def test_charset_that_a_page_declares(self):
        page = f"<meta charset='iso-8859-1'>{PAGE}".replace("&egrave;", "è")
        assert "fièvre" in text(document("a", attachment(page, "text/html", "latin-1")), True)
        wrong = attachment("<p>fièvre", "text/html", "latin-1")
        assert reason(document("a", wrong), True) == "the attachment is not valid HTML"

    @pytest.mark.parametrize("kind", ["text/rtf", "application/rtf", "text/plain"])
    def test_rtf(self, kind):
        assert text(document("a", attachment(RICH, kind)), True) == "fièvre\ntoux"

    def test_plain_text_is_preferred(self):
        both = attachment(PAGE, "text/html"), attachment("toux")
        assert text(document("a", *both), True) == "toux"

    def test_what_only_calls_itself_html(self):
        assert "but is PDF" in reason(document("a", attachment("%PDF-1", "text/html")), True)
        assert "no text" in reason(document("a", attachment("<p></p>", "text/html")), True)


class TestBinaries:
    BINARY: dict = {  # noqa: RUF012 (a resource)
        "resourceType": "Binary",
        "id": "b1",
        "contentType": "text/plain",
        "data": "dG91eA==",
    }

    def test_contained(self):
        linked = {"attachment": {"contentType": "text/plain", "url": "#b1"}}
        assert text(document("a", linked, contained=[self.BINARY])) == "toux"
        assert reason(document("a", linked, contained=["x"])) == fhir_documents.NOT_INCLUDED

    def test_elsewhere(self):
        linked = {"attachment": {"url": "Binary/b1"}}
        assert text(document("a", linked), binaries={"Binary/b1": self.BINARY}) == "toux"
        old = {"contentType": "text/plain", "content": "dG91eA=="}
        assert text(document("a", linked), binaries={"Binary/b1": old}) == "toux"


class TestReports:
    def test_presented_form(self):
        assert text(report(attachment("toux"), conclusion="autre")) == "toux"

    def test_conclusion_of_a_report_without_a_form(self):
        assert text(report(conclusion="toux")) == "toux"
        assert reason(report(conclusion=3)) == "no text"
        assert reason(report()) == fhir_documents.NO_PLAIN_TEXT

    def test_conclusion_does_not_stand_for_a_form_that_cannot_be_read(self):
        form = attachment("%PDF", "application/pdf")
        assert reason(report(form, conclusion="toux")) == fhir_documents.NO_PLAIN_TEXT
