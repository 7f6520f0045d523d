"""An artefact as a service over HTTP: the Open Inference Protocol (KServe V2), and an address for people."""
