"""Strict, scriptable local stand-ins for the providers Tidemill talks to."""
