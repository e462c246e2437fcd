"""Imports a package that is sent along."""

import jinja2

_letters = jinja2.Environment(autoescape=True).from_string("Dear {{ name }},\n{% for line in lines %}{{ line }}\n{% endfor %}")


def write(name: str, lines: list[str]) -> str:
    return _letters.render(name=name, lines=lines)
