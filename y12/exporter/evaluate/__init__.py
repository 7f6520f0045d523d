"""How accurate and how fast: COCO figures of artefacts and of graphs. No torch here."""
