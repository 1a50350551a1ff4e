"""The page of a sweep holds everything, in the order of the table."""
from launch.sweeps import results
from launch.sweeps.page import page


def test_page(sweep, done, tmp_path):
    text = page(sweep, done, results.table(sweep, done), tmp_path / "out", "jamflow sweep rates")
    assert text.index("high<small>optim.lr=0.3") < text.index("low 9<small>optim.lr=0.1, evaluate.steps=9")
    assert "<b>0.200</b><span>0.200 to 0.200</span>" in text and "<b>\u2212" not in text
    assert "the gradient was not finite" in text and "jamflow sweep rates" in text and "Which rate?" in text
    assert "src=" not in text and "href=" not in text  # all of it is in the file
    assert text.count('class="chart"') == 3  # losses of the rows that have some
