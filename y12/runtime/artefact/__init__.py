"""What a file is: manifest, headers, plans, other exporters' metadata. No vendor library here."""
