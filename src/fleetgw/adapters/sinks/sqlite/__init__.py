"""The ``sqlite`` sink: records in one file, and how that file is read. Import the modules: readers need no Twisted."""
