"""Cached Python environments: what an image and a pip bootstrap ask for, built once with uv and shared."""
