"""Metrics take tensors and give numbers: here on two sets of features, and on two pictures."""

from zeuxis.metrics.frechet import frechet
from zeuxis.metrics.kernel import kernel
from zeuxis.metrics.precision import precision_recall
from zeuxis.metrics.similarity import psnr, ssim
from zeuxis.rng import Stream


def main() -> dict[str, tuple[float, float]]:
    """Each distance of real features from more real ones (its floor) and from ones that vary half as much."""
    rng = Stream(0)
    real, again, dull = rng.normal(500, 8), rng.normal(500, 8), 0.5 * rng.normal(500, 8)
    found = {"frechet": (frechet(real, again), frechet(real, dull))}
    near, far = (kernel(real, other, Stream(1), subsets=10, subset=200) for other in (again, dull))
    found["kernel"] = (near.value, far.value)
    same, other = precision_recall(real, again), precision_recall(real, dull)
    found["precision"], found["recall"] = (same.precision, other.precision), (same.recall, other.recall)
    picture = 2 * rng.uniform(1, 3, 32, 32) - 1  # (B, C, H, W) in [-1, 1]
    slight, strong = (picture + s * rng.normal(1, 3, 32, 32) for s in (0.02, 0.2))
    found["psnr"] = (float(psnr(slight, picture)), float(psnr(strong, picture)))
    found["ssim"] = (float(ssim(slight, picture)), float(ssim(strong, picture)))
    return found


if __name__ == "__main__":
    for name, (good, bad) in main().items():
        print(f"{name:>10}  {good:8.3f}  {bad:8.3f}")
