"""Plain pages without scripts: the description of the API, as the usual ones load theirs from elsewhere, and errors."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from spotify_dag.app.texts import Texts

STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2rem auto;"
    "padding:0 1rem}code{font-family:ui-monospace,monospace}section{border-top:1px solid #8888;padding:.5rem 0 1rem;"
    "overflow-wrap:anywhere}h2{font-size:1.05rem}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;padding:.2rem .6rem .2rem 0;vertical-align:top}"
)


def page(schema: Mapping[str, Any]) -> str:
    """Return the description of an API (OpenAPI 3.1) as HTML."""
    parts = [
        _operation(path, method, operation)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    ]
    info = schema["info"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{_text(info['title'])} API</title><style>{STYLE}</style><h1>{_text(info['title'])} API</h1>"
        f"<p>{_text(info['description'])}</p><p>For machines: <a href='openapi.json'>openapi.json</a>.</p>"
        f"{''.join(parts)}"
    )


def login_problem(say: Texts, detail: str) -> str:
    """Return a page that says why a login failed, and where to begin another."""
    links = {
        "again": f"<a href='/login?after=/%3Fmine'>{say('login-again')}</a>",
        "back": f"<a href='/'>{say('login-back')}</a>",
    }
    return (
        f'<!doctype html><html lang="{say.language}"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{say("login-failed")}</title><style>{STYLE}</style>'
        f"<h1>{say('login-failed')}</h1><p lang='en'>{_text(detail)}</p>"
        f"<p>{say('login-again-or-back', **links)}</p></html>"
    )


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{_text(parameter['name'])}</code></td>"
        f"<td>{_text(parameter['in'])}{', needed' * parameter.get('required', False)}</td>"
        f"<td>{_text(parameter.get('description', ''))}</td></tr>"
        for parameter in operation.get("parameters", [])
    )
    sent = ", ".join(operation.get("requestBody", {}).get("content", {}))
    answers = ", ".join(f"{code} {answer['description']}" for code, answer in operation["responses"].items())
    body = f"<p>Body: <code>{_text(sent)}</code></p>" if sent else ""
    return (
        f"<section><h2><code>{method.upper()} {_text(path)}</code></h2><p>{_text(operation.get('description', ''))}</p>"
        f"<table>{rows}</table>{body}<p>Answers: {_text(answers)}</p></section>"
    )


def _text(value: Any) -> str:
    return html.escape(str(value))
