"""Description lengths against codes that are written out and counted."""

import itertools

import jax
import numpy as np
import pytest

from theorylab import subspace

RNG = np.random.default_rng(0)


def test_a_solution_is_one_seed_and_d_floats():
    assert subspace.solution_bits(750) == 64 + 750 * 32
    assert subspace.solution_bits(3, float_bits=16, seed_bits=0) == 48


def test_the_code_of_predicted_classes_counts_all_that_could_be_sent():
    # All label sequences near fixed predictions: 2^-bits summed over them is exactly 1.
    predicted = np.array([0, 2, 1, 2, 0])
    total = 0.0
    for labels in itertools.product(range(3), repeat=5):
        found = subspace.description_length(0, np.array(labels), predicted)
        total += 2.0**-found.residual
    np.testing.assert_allclose(total, 1, rtol=1e-12)


def test_logits_cost_their_cross_entropy_and_whole_sequences_sum_to_one():
    logits = 3 * RNG.standard_normal((4, 3)).astype(np.float32)
    labels = np.array([0, 2, 1, 1])
    found = subspace.description_length(100.0, labels, logits)
    nats = -jax.nn.log_softmax(logits)[np.arange(4), labels].sum()
    np.testing.assert_allclose(found.residual, nats / np.log(2), rtol=1e-5)
    assert found.total == 100 + found.residual
    assert found.per_label == found.total / 4
    each = [
        2.0 ** -subspace.description_length(0, np.array(y), logits).residual
        for y in itertools.product(range(3), repeat=4)
    ]
    np.testing.assert_allclose(np.sum(each), 1, rtol=1e-12)


def test_the_best_constant_prediction_costs_what_labels_alone_cost():
    labels = RNG.choice(4, 500, p=[0.4, 0.3, 0.2, 0.1])
    logits = np.log(np.bincount(labels) / 500) * np.ones((500, 1))
    found = subspace.description_length(0, labels, logits)
    np.testing.assert_allclose(found.residual, found.labels_alone, rtol=1e-12)
    assert subspace.description_length(0, np.zeros(9, int), np.zeros(9, int)).labels_alone == 0


def test_predictions_without_a_rule_do_not_pay_for_themselves():
    labels = RNG.integers(0, 10, 2000)
    rule = np.where(RNG.random(2000) < 0.05, (labels + 1) % 10, labels)
    shuffled = RNG.permutation(labels)
    good = subspace.description_length(3000, labels, rule)
    bad = subspace.description_length(0, shuffled, rule)
    assert good.total < 0.75 * good.labels_alone
    assert bad.total > bad.labels_alone


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        (np.ones(3), np.ones((3, 2)), "labels must be"),
        (np.array([], int), np.ones((0, 2)), "labels must be"),
        (np.array([-1, 0]), np.ones((2, 2)), "labels must be"),
        (np.array([0, 2]), np.ones((2, 2)), "labels must be below 2"),
        (np.array([0, 1]), np.ones((3, 2)), "predictions must be"),
        (np.array([0, 1]), np.ones(2), "predictions must be"),
        (np.array([0, 1]), np.array([-1, 1]), "predictions must be classes"),
        (np.array([0, 1]), np.full((2, 2), np.inf), "finite logits"),
    ],
)
def test_bad_input_is_refused(labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        subspace.description_length(1, labels, predictions)


def test_other_bad_input_is_refused():
    with pytest.raises(ValueError, match="bits must be"):
        subspace.description_length(-1, np.array([0]), np.array([0]))
    for arguments in ({"d": 0}, {"d": 2, "float_bits": 0}, {"d": 2, "seed_bits": 1.5}):
        with pytest.raises(ValueError, match="must be a whole number"):
            subspace.solution_bits(**arguments)
