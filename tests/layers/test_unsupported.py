"""What has no kernel says so by name, with the reason and the remedy."""

import pytest

import theorylab.layers as tl


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (tl.BatchNorm, "depends on the whole batch"),
        (tl.MaxPool, "maxima over windows"),
        (tl.GlobalMaxPool, "maxima over images"),
        (tl.Softmax, "on a finite axis"),
        (tl.LogSoftmax, "on a finite axis"),
        (tl.RNN, "share their weights"),
        (tl.GRU, "share their weights"),
        (tl.LSTM, "share their weights"),
        (tl.SharedWeights, "share weights"),
    ],
)
def test_it_is_refused_when_it_is_made(make, reason):
    for arguments in ((), ((2, 2), (1, 1)), (128,)):
        with pytest.raises(NotImplementedError, match=f"^{make.__name__} has no .*{reason}"):
            make(*arguments)
    with pytest.raises(NotImplementedError, match="theorylab.empirical.monte_carlo"):
        make(axis=-1, padding="SAME")


def test_one_that_was_not_called_is_no_layer():
    with pytest.raises(TypeError, match="argument 1 is no layer .*forget to call it"):
        tl.serial(tl.Dense(2), tl.MaxPool)
