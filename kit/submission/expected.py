"""Where this user stands, and where the newest blend would. Knows Kaggle by its room alone."""

from __future__ import annotations

from kit.blending import read_blend
from kit.data.project import Project
from kit.errors import StoreError
from kit.submission.standing import Standing, standing
from kit.submission.upload import check_not_sample


def expected_standing(project: Project) -> tuple[Standing, str]:
    """Return the standing, and the blend whose expected score is placed in it; "" where there is none of these folds.

    Raises:
        UsageError: the data are kit's own sample.
        RemoteError: Kaggle refused, or did not answer.
    """
    from kit.remote import Remote

    check_not_sample(project)
    try:
        blend = read_blend(project.workspace, None)
        name, expected = blend.name, blend.leaderboard.score.value
    except StoreError:  # your place is the same
        name, expected = "", None
    return standing(Remote(project.workspace.slug), expected=expected), name
