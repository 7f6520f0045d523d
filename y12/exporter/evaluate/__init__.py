"""How well an artefact does on labelled data: reading the labels, running it, COCO's evaluation. No torch here."""
