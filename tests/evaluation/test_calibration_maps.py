"""Maps as files may hold them: only those that increase."""

import pytest
from pydantic import ValidationError

from clinadapt.evaluation.calibration_maps import CalibrationMap


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "isotonic"},
        {"knots": [(0.1, 0.2)]},
        {"method": "isotonic", "knots": [(0.5, 0.2), (0.4, 0.3)]},
        {"method": "isotonic", "knots": [(0.1, 0.5), (0.4, 0.3)]},
        {"method": "isotonic", "knots": [(0.1, 0.5), (0.4, 1.3)]},
        {"slope": 0.0},
        {"slope": float("nan")},
        {"intercept": 1e9},
    ],
)
def test_a_map_that_does_not_increase_is_refused(changed):
    with pytest.raises(ValidationError):
        CalibrationMap.model_validate({"method": "logistic", **changed})
