"""Write an artefact as a folder that other software serves."""
