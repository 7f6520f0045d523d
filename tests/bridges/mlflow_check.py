"""What MLflow's own loader makes of an artefact. Arguments: the artefact, an image, a folder to write to."""

import sys
from pathlib import Path

import mlflow
import pandas as pd

import y12.mlflow
from y12 import Runtime
from y12.errors import InputError


def refused(model, frame, **params):
    try:
        model.predict(frame, params=params)
    except InputError as error:
        return str(error)
    raise AssertionError("it was taken")


def main(artefact, image, folder):
    content = Path(image).read_bytes()
    frame = pd.DataFrame({"image": [content, content]})
    wanted = Runtime(artefact)(image).as_records()
    assert len(wanted) == 1
    y12.mlflow.save_model(artefact, folder / "saved")
    mlflow.set_tracking_uri((folder / "runs").as_uri())
    with mlflow.start_run():
        logged = y12.mlflow.log_model(artefact, "detector")
    for uri in (str(folder / "saved"), logged.model_uri):
        model = mlflow.pyfunc.load_model(uri)
        assert model.predict(frame) == [wanted, wanted]
        assert model.predict(frame, params={"conf": 0.99}) == [[], []]
        assert model.predict(frame, params={"classes": ["red"]}) == [wanted, wanted]
        assert model.predict(frame, params={"classes": ["blue"]}) == [[], []]
        assert "did you mean 'blue'?" in refused(model, frame, classes=["blu"])
        assert refused(model, pd.DataFrame({"image": [b"no image"]})).startswith("row 0: ")
    assert model.metadata.metadata["names"] == ["red", "green", "blue"]
    assert "y12==" in (folder / "saved/requirements.txt").read_text()
    assert (folder / "saved/MLmodel").is_file()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
