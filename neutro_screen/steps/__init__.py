"""The steps of a run, one module each, in the order in which ``neutro_screen.pipeline.run`` takes them:

1. ``ingest``: read the files into canonical frames
2. ``survey``: look at the store as a whole; who is screened again, which records are one person, how many parts
3. ``judge``: validate every row of a part; accepted, refused, without result
4. ``history``: what is new in a part, and what the store holds of its patients
5. ``screening``: apply the rules to the patients of a part
6. ``publish``: put everything into the store at once and write the reports, with ``worklist`` (who is on it),
   ``data_quality`` (what drifted, and when a run is refused) and ``feeds`` (what did not come in)

``settings`` is what a run is asked to do, ``summary`` what it tells of itself, ``rows`` what all steps know of rows.

Every step reads from and writes to a ``Workspace`` and returns counts only, so that it can also be a task of its own.
"""
