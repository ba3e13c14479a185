"""Projections to hardware that is not here: reads what is published, asks `projection`, words what came out."""

from __future__ import annotations
