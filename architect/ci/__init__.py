"""What ``pxos fix --ci`` leaves for a CI service: annotations, JUnit, SARIF, a job summary, a pull request's text.

Owns the rendering of the JSON of ``pxos fix`` into those forms, and their bounds. Every text of a kernel, a log or a
model is hostile here: it is escaped for the form that it stands in. Never runs, judges or changes anything.
"""
