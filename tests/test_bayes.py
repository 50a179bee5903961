"""What is true of a classifier by Bayes' rule, against brute force where every image can be listed."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from genlib.autoregressive import PixelCNN
from genlib.bayes import GenerativeClassifier, auroc
from genlib.data import load
from genlib.data.bars import all_images
from genlib.training import fit
from genlib.variational import VAE, importance_bound

SHAPE = (1, 3, 3)
PRIOR = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


@pytest.fixture
def model() -> PixelCNN:
    """Weights far from zero, so that the classes differ."""
    model = PixelCNN(SHAPE, hidden_dim=8, depth=1, n_classes=3).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0).add_(0.3 * torch.randn_like(p))
    return model


@pytest.fixture
def classifier(model: PixelCNN) -> GenerativeClassifier:
    return GenerativeClassifier(model, PRIOR)


def everything() -> Tensor:
    return all_images(2, SHAPE).double()  # (512, 1, 3, 3)


def joint_table(model: PixelCNN) -> Tensor:
    """p(x, y) of all 512 images and 3 classes, class by class from p(x | y) p(y)."""
    x = everything()
    columns = [model.log_prob(x, y=torch.full((512,), k)).exp() * PRIOR[k] for k in range(3)]
    return torch.stack(columns, dim=1).detach()


def test_the_joint_sums_to_one(classifier: GenerativeClassifier):
    assert classifier.log_joint(everything()).exp().sum() == pytest.approx(1.0, abs=1e-9)


def test_equals_brute_force(classifier: GenerativeClassifier, model: PixelCNN):
    x, table = everything(), joint_table(model)
    evidence = table.sum(dim=1, keepdim=True)
    assert torch.allclose(classifier.log_joint(x).exp(), table)
    assert torch.allclose(classifier.posterior(x), table / evidence)
    assert torch.allclose(classifier.log_prob(x).exp(), evidence.squeeze(1))
    assert torch.equal(classifier.predict(x), table.argmax(dim=1))
    assert torch.allclose(classifier.log_joint(x, batch_size=200).exp(), table)


def test_the_posterior_gives_back_what_it_was_made_from(
    classifier: GenerativeClassifier, model: PixelCNN
):
    """p(x | y) = p(y | x) p(x) / p(y), with p(y) recovered as the mean of the posterior under p(x)."""
    x = everything()
    p_x, p_y_given_x = classifier.log_prob(x).exp(), classifier.posterior(x)
    p_y = (p_y_given_x * p_x[:, None]).sum(dim=0)
    assert torch.allclose(p_y, PRIOR)
    recovered = p_y_given_x * p_x[:, None] / p_y
    assert torch.allclose(recovered, joint_table(model) / PRIOR)


def test_no_other_rule_is_right_as_often(classifier: GenerativeClassifier, model: PixelCNN):
    """The share of right answers, over the joint distribution, is the sum of the largest entries."""
    table = joint_table(model)
    rows = torch.arange(512)
    right = table[rows, classifier.predict(everything())].sum()
    assert right == pytest.approx(table.max(dim=1).values.sum().item())
    for other in range(3):  # always answering one class, and the likelihood without the prior
        assert table[:, other].sum() < right
    assert table[rows, (table / PRIOR).argmax(dim=1)].sum() < right


def test_equal_likelihoods_leave_the_prior(model: PixelCNN):
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()  # now the label changes nothing
    posterior = GenerativeClassifier(model, PRIOR).posterior(everything())
    assert torch.allclose(posterior, PRIOR.expand(512, 3))


def test_refuses_exactly_what_lies_below_the_threshold(classifier: GenerativeClassifier):
    x = everything()
    evidence, label = classifier.log_prob(x), classifier.predict(x)
    threshold = evidence.sort().values[100].item()
    answer = classifier.predict(x, reject_below=threshold)
    assert (answer == -1).sum() == 100
    assert torch.equal(answer == -1, evidence < threshold)
    assert torch.equal(answer[answer >= 0], label[answer >= 0])


def test_of_a_vae_it_is_a_bound():
    """Jensen: the classes' bounds, mixed, lie below log p(x) on average over draws."""
    torch.manual_seed(1)
    model = VAE(SHAPE, latent_dim=2, n_classes=3)
    classifier = GenerativeClassifier(model, PRIOR.float())
    x = all_images(2, SHAPE)[:32]
    with pytest.raises(TypeError, match="only a bound"):
        classifier.log_prob(x)
    bound = torch.stack([classifier.elbo(x) for _ in range(200)]).mean(dim=0)
    with torch.no_grad():
        tight = [
            importance_bound(model, x, k=2000, y=torch.full((32,), k)) + PRIOR[k].log()
            for k in range(3)
        ]
    evidence = torch.stack(tight, dim=1).logsumexp(dim=1)
    assert (bound < evidence + 0.02).all()  # 200 draws of a bound that scatters by about 0.1
    assert (evidence - bound).mean() > 0
    assert torch.allclose(classifier.posterior(x).sum(dim=1), torch.ones(32))


def test_learns_to_tell_bars_from_stripes():
    bars = load("bars")
    counts = bars.labels.bincount()
    model = PixelCNN(bars.shape, hidden_dim=16, depth=2, n_classes=bars.n_classes)
    fit(model, bars, epochs=60, batch_size=30, learning_rate=2e-2)
    classifier = GenerativeClassifier(model, counts / counts.sum())
    right = classifier.predict(bars.floats()) == bars.labels
    assert right.float().mean() >= 28 / 30  # black and white images are in both classes


def test_auroc_counts_pairs():
    in_scores, out_scores = torch.randint(0, 9, (40,)) / 4, torch.randint(-2, 7, (30,)) / 4
    pairs = in_scores[:, None] - out_scores
    by_hand = ((pairs > 0).double() + 0.5 * (pairs == 0).double()).mean().item()
    assert auroc(in_scores, out_scores) == pytest.approx(by_hand)
    assert auroc(out_scores, in_scores) == pytest.approx(1 - by_hand)
    assert auroc(in_scores, in_scores) == pytest.approx(0.5)
    assert auroc(in_scores.exp(), out_scores.exp()) == pytest.approx(
        by_hand
    )  # only the order counts


def test_auroc_of_two_gaussians_is_known():
    """Their means one standard deviation apart: Phi(1 / sqrt 2)."""
    n = 20_000
    known = 0.5 * (1 + math.erf(0.5))
    spread = math.sqrt(1 / (12 * n) * 2)  # of the estimate, about
    assert auroc(torch.randn(n) + 1, torch.randn(n)) == pytest.approx(known, abs=4 * spread)


@pytest.mark.parametrize(
    "prior, message",
    [
        (torch.tensor([0.5, 0.5]), "3 floats"),
        (torch.tensor([5, 3, 2]), "3 floats"),
        (torch.tensor([5.0, 3.0, 2.0]), "sum to one"),
        (torch.tensor([0.5, 0.5, 0.0]), "positive"),
        (torch.tensor([0.5, 0.7, -0.2]), "positive"),
        (torch.tensor([0.5, math.nan, 0.5]), "positive"),
    ],
)
def test_what_is_no_prior_is_refused(model: PixelCNN, prior: Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        GenerativeClassifier(model, prior)


def test_models_without_labels_or_probabilities_are_refused():
    with pytest.raises(TypeError, match="no labels"):
        GenerativeClassifier(PixelCNN(SHAPE, hidden_dim=8, depth=1), PRIOR)
    silent = nn.Linear(1, 1)
    silent.n_classes = 3  # type: ignore[assignment]
    with pytest.raises(TypeError, match="neither log_prob nor elbo"):
        GenerativeClassifier(silent, PRIOR)


def test_bad_images_and_scores_are_refused(classifier: GenerativeClassifier):
    with pytest.raises(ValueError, match="shape"):
        classifier.posterior(torch.zeros(2, 1, 4, 4, dtype=torch.float64))
    with pytest.raises(ValueError, match="NaN"):
        classifier.predict(torch.full((2, *SHAPE), math.nan, dtype=torch.float64))
    with pytest.raises(ValueError, match="at least one score"):
        auroc(torch.zeros(0), torch.zeros(3))
    with pytest.raises(ValueError, match="NaN"):
        auroc(torch.zeros(3), torch.tensor([math.nan]))


@pytest.mark.parametrize("family", ["PixelCNN", "VAE"])
def test_runs_on_any_device(family: str):
    with FakeTensorMode(allow_non_fake_inputs=False):
        with torch.device("cuda"):
            model: nn.Module = (
                PixelCNN(SHAPE, hidden_dim=8, depth=1, n_classes=3)
                if family == "PixelCNN"
                else VAE(SHAPE, latent_dim=2, n_classes=3)
            )
            x = torch.rand(4, *SHAPE).round()
        prior = torch.tensor([0.5, 0.3, 0.2])  # counted on the CPU: it follows the model
        classifier = GenerativeClassifier(model, prior)
        assert classifier.posterior(x).device.type == "cuda"
        assert classifier.elbo(x).shape == (4,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_runs_on_cuda(model: PixelCNN):
    classifier = GenerativeClassifier(model.cuda(), PRIOR)
    assert classifier.predict(everything().cuda(), reject_below=-7.0).device.type == "cuda"
