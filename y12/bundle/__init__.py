"""What others' servers and pipelines need to run an artefact, as a folder of files of theirs."""
