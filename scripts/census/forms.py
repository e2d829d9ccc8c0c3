"""Odd forms of files: checkpoints as people have them, tiny, each one step away
from a plain one. The reference is the library's own loader on the same folder;
where no library reads the form, the model that it was made of ("same")."""

import pathlib

import numpy as np
import transformers

import forms_config
import forms_file
import forms_preprocessor
import forms_timm

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

FORMS = {f.name: f for table in (forms_config, forms_file, forms_preprocessor, forms_timm) for f in table.forms()}


def cases():
    for f in FORMS.values():
        yield f.name.split("/")[0], f.name


def facts(name):
    """Forms are quick: they are made anew when any of them changes."""
    here = pathlib.Path(__file__).parent
    return "".join((here / f"{m.__name__}.py").read_text() for m in (forms_config, forms_file, forms_preprocessor, forms_timm)) + (here / "tiny.py").read_text()


def flags(name):
    return FORMS[name].flags


def build(name, seed, folder):
    form = FORMS[name]
    form.make(folder)
    form.folder = folder
    return form


def answers(form, pictures):
    try:
        return form.reference(form.folder, pictures)
    except Exception as e:
        return {"fails": np.array(f"{type(e).__name__}: {str(e).strip()}"[:300])}
