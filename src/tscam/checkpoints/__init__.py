"""Stored models: what names one, the model folder, the authors' files, the hub. Import from the modules themselves."""
