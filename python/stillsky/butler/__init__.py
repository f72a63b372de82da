"""Where Rubin people work: storage classes, formatters and delegate of a Butler repository, and what makes one.

``storage.yaml`` (``resource://stillsky/butler/storage.yaml``) names all of them; `stillsky repo create` copies it into a new
repository. A file in a repository is a plain file of stillsky, and the reverse.
"""
