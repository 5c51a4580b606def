"""Kaggle, as the kit needs it: a competition, its archive, submissions and scores. The only part that talks.

    values.py     the slug and the values that come back
    credentials.py  credentials and proxies, made plain for the client
    session.py    one call, retries of reads, errors in the kit's own words; imports `kaggle`, lazily
    download.py   the archive, resumed and verified
    queries.py    questions that change nothing: the competition, its limits, the submissions
    submit.py     one file, submitted exactly once
    service.py    `Remote`: the five things above under one name

Knows nothing of pictures, nor of what is inside an archive or a CSV.
"""

from __future__ import annotations

from kit.remote.service import Remote
from kit.remote.submit import AnswerLost, new_tag
from kit.remote.values import CompetitionInfo, Limits, Place, RemoteSubmission, slug_of

__all__ = ["AnswerLost", "CompetitionInfo", "Limits", "Place", "Remote", "RemoteSubmission", "new_tag", "slug_of"]
