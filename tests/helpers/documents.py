"""FHIR resources in the form of a hospital export."""

import base64


def attachment(text, kind="text/plain", charset="utf-8", **further):
    data = base64.b64encode(text.encode(charset)).decode()
    return {"attachment": {"contentType": kind, "data": data, **further}}


def document(id, *content, **further):
    return {"resourceType": "DocumentReference", "id": id, "content": list(content), **further}
