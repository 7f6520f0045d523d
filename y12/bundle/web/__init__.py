"""A model as a page that runs it in the browser: a folder for any host of files."""
