"""Callbacks for other libraries' trainers; each module needs the library it is named after."""
