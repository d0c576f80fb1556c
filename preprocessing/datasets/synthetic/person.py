"""Who speaks: shape, skin, hair, clothes and voice of one made-up person, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from preprocessing.datasets.synthetic.mesh import Mesh

Colour = tuple[float, float, float]

# Skin colours (sRGB) from light to dark; each person lies somewhere between two neighbours.
_SKINS: tuple[Colour, ...] = (
    (0.95, 0.80, 0.72),
    (0.90, 0.72, 0.60),
    (0.82, 0.62, 0.48),
    (0.70, 0.50, 0.37),
    (0.52, 0.35, 0.25),
    (0.36, 0.24, 0.18),
)
_SKIN_RANGE = {"african": (3.2, 5.0), "asian": (0.6, 2.8), "caucasian": (0.0, 2.2)}
_DARK_HAIR: tuple[Colour, ...] = ((0.06, 0.05, 0.05), (0.13, 0.09, 0.07), (0.22, 0.14, 0.09))
_LIGHT_HAIR: tuple[Colour, ...] = ((0.34, 0.20, 0.10), (0.62, 0.46, 0.26), (0.45, 0.18, 0.08))
_GREY_HAIR: tuple[Colour, ...] = ((0.55, 0.54, 0.53), (0.78, 0.77, 0.75))
_IRIS: tuple[Colour, ...] = (
    (0.20, 0.11, 0.06),
    (0.12, 0.07, 0.05),
    (0.30, 0.42, 0.52),
    (0.33, 0.40, 0.24),
    (0.36, 0.24, 0.12),
)
_STYLES = ("bald", "buzz", "short", "full", "long")
_PAIRED = ("cheek", "eye", "ear")


@dataclass(frozen=True)
class Voice:
    """One speaker made from the one voice: pitch, length of the vocal tract, pace.

    Attributes:
        pitch: factor on the fundamental. tract: factor on all formants (below 1: larger head).
        pace: words per second against the voice's own.
    """

    pitch: float
    tract: float
    pace: float


@dataclass(frozen=True)
class Person:
    """Everything that stays with an identity.

    Attributes:
        name: folder name, "id07". shapes: identity target -> weight.
        carriage: how high the chin is held, radians.
        race, female, old: what the face was drawn from.
        articulation: factor on mouth movement.
    """

    name: str
    seed: int
    race: str
    female: bool
    old: float
    shapes: dict[str, float] = field(repr=False)
    skin: Colour = (0.9, 0.7, 0.6)
    hair: Colour = (0.1, 0.07, 0.05)
    iris: Colour = (0.2, 0.11, 0.06)
    style: str = "short"
    hairline: float = 0.0
    beard: float = 0.0
    brow: float = 1.0
    lipstick: float = 0.0
    freckles: float = 0.0
    voice: Voice = field(default_factory=lambda: Voice(1.0, 1.0, 1.0))
    articulation: float = 1.0
    carriage: float = 0.08


def _mix(stops: tuple[Colour, ...], at: float) -> Colour:
    index = int(np.clip(np.floor(at), 0, len(stops) - 2))
    low, high = np.array(stops[index]), np.array(stops[index + 1])
    red, green, blue = low + (high - low) * (at - index)
    return float(red), float(green), float(blue)


def _shape_weights(
    rng: np.random.Generator, mesh: Mesh, race: str, female: bool, old: float
) -> dict[str, float]:
    gender = "female" if female else "male"
    weights = {f"{race}-{gender}-young": 1.0 - old, f"{race}-{gender}-old": old}
    other = str(rng.choice([r for r in _SKIN_RANGE if r != race]))
    share = float(rng.uniform(0.0, 0.3))
    weights = {name: w * (1 - share) for name, w in weights.items()}
    weights[f"{other}-{gender}-young"] = share
    heavy = float(rng.uniform(-0.8, 0.9))
    weight = "maxweight" if heavy > 0 else "minweight"
    weights[f"universal-{gender}-young-averagemuscle-{weight}"] = abs(heavy)
    pairs: dict[str, list[str]] = {}
    for name in mesh.shapes:
        if name.split("-")[0] in (*_SKIN_RANGE, "universal"):
            continue
        plain = name[2:] if name[:2] in ("l-", "r-") else name
        feature = plain.rsplit("-", 1)[0]
        pairs.setdefault(feature, []).append(name)
    for feature, names in sorted(pairs.items()):
        _draw_feature(rng, feature, names, weights)
    return {name: round(w, 4) for name, w in weights.items() if name in mesh.shapes and w}


def _draw_feature(
    rng: np.random.Generator, feature: str, names: list[str], weights: dict[str, float]
) -> None:
    """Gives one end of a feature a weight, the same on both sides of the face but for a little."""
    ends = sorted({name.rsplit("-", 1)[1] for name in names})
    end = str(rng.choice(ends))
    reach = 0.35 if feature.startswith(("ear", "head-trans", "mouth-trans")) else 0.75
    if feature.startswith("head") and "-" not in feature.removeprefix("head-"):
        reach = 0.5
    amount = float(np.clip(abs(rng.normal(0.0, 0.45)), 0, 1)) * reach
    for name in names:
        if name.endswith(f"-{end}"):
            weights[name] = amount * float(rng.uniform(0.85, 1.0))


def _hair(rng: np.random.Generator, female: bool, old: float, race: str) -> tuple[str, Colour]:
    odds = (0.0, 0.04, 0.2, 0.3, 0.46) if female else (0.16, 0.22, 0.36, 0.22, 0.04)
    style = str(rng.choice(_STYLES, p=odds))
    light = race == "caucasian" and rng.random() < 0.6
    stops = _LIGHT_HAIR if light else _DARK_HAIR
    if old > 0.55 and rng.random() < 0.75:
        stops = _GREY_HAIR
    return style, _mix(stops, float(rng.uniform(0, len(stops) - 1)))


def draw_person(mesh: Mesh, index: int, seed: int, attempt: int = 0) -> Person:
    """Draws identity ``index`` of the corpus with ``seed``.

    ``attempt`` counts the draws that were turned down.

    Races, genders and ages take turns, so that few identities already differ widely.
    """
    rng = np.random.default_rng([seed, index, 7, attempt])
    race = ("caucasian", "african", "asian")[index % 3]
    female = (index // 3) % 2 == 1
    old = float(np.clip((index // 6) % 4 / 3.6 + rng.normal(0, 0.06), 0, 0.9))
    style, hair = _hair(rng, female, old, race)
    low, high = _SKIN_RANGE[race]
    pitch = rng.uniform(0.85, 1.12) if female else rng.uniform(0.5, 0.68)
    tract = rng.uniform(0.95, 1.08) if female else rng.uniform(0.82, 0.92)
    beard = 0.0 if female else float(rng.choice([0.0, 0.25, 0.5, 1.0], p=[0.3, 0.3, 0.2, 0.2]))
    light_eyes = race == "caucasian" and rng.random() < 0.6
    return Person(
        name=f"id{index:02d}",
        seed=seed,
        race=race,
        female=female,
        old=old,
        shapes=_shape_weights(rng, mesh, race, female, old),
        skin=_mix(_SKINS, float(rng.uniform(low, high))),
        hair=hair,
        iris=_IRIS[int(rng.integers(2, 5)) if light_eyes else int(rng.integers(0, 2))],
        style=style,
        hairline=float(rng.normal(0.0, 0.06) + 0.12 * old * (not female)),
        beard=beard,
        brow=float(rng.uniform(0.5, 0.8) if female else rng.uniform(0.8, 1.25)),
        lipstick=float(rng.uniform(0.1, 0.8)) if female else 0.0,
        freckles=float(max(0.0, rng.normal(-0.2, 0.5))) if race == "caucasian" else 0.0,
        voice=Voice(float(pitch), float(tract), float(rng.uniform(0.88, 1.12))),
        articulation=float(rng.uniform(0.85, 1.15)),
    )


def shaped(mesh: Mesh, person: Person) -> np.ndarray:
    """The person's neutral face, (N,3) float32, eyes and head size brought to the base mesh's."""
    vertices = mesh.vertices.copy()
    for name, weight in person.shapes.items():
        vertices += weight * mesh.shapes[name]
    head = mesh.vertices[:, 1] > 6.35
    scale = mesh.vertices[head].std(0).mean() / vertices[head].std(0).mean()
    vertices = (vertices - vertices[head].mean(0)) * scale + mesh.vertices[head].mean(0)
    # Further back, and less of tongue and lower row: else teeth pierce thin lips, and the mesh net
    # takes tongue or teeth for the lip.
    vertices[mesh.tongue] += [0.0, -0.11, -0.10]
    vertices[mesh.upper_teeth] += [0.0, -0.02, -0.05]
    vertices[mesh.lower_teeth] += [0.0, -0.09, -0.07]
    lips = mesh.masks["lips"] > 0.5
    narrow = np.ptp(vertices[lips, 0]) / np.ptp(mesh.vertices[lips, 0])
    vertices[np.concatenate([mesh.upper_teeth, mesh.lower_teeth]), 0] *= 0.85 * min(1.0, narrow)
    return seal_lips(mesh, vertices.astype(np.float32))


def lip_pairs(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the upper and the lower lip that touch when the base mesh's mouth is shut."""
    falls = -mesh.units["jawOpen"][:, 1]
    lips = mesh.masks["lips"] > 0.5
    lower = np.nonzero(lips & (falls > 0.1))[0]
    upper = np.nonzero(lips & (falls < 0.08))[0]
    apart = np.linalg.norm(mesh.vertices[lower, None] - mesh.vertices[None, upper], axis=2)
    nearest = apart.argmin(1)
    touching = apart.min(1) < 0.035
    return upper[nearest[touching]], lower[touching]


def seal_lips(mesh: Mesh, vertices: np.ndarray) -> np.ndarray:
    """Closes the slit that identity targets leave between the lips."""
    upper, lower = lip_pairs(mesh)
    base = mesh.vertices[upper, 1] - mesh.vertices[lower, 1]
    slit = vertices[upper, 1] - vertices[lower, 1] - base
    order = np.argsort(mesh.vertices[lower, 0], kind="stable")
    near = mesh.vertices[:, 2] > 1.2
    at = np.interp(mesh.vertices[:, 0], mesh.vertices[lower[order], 0], slit[order])
    seam = np.interp(
        mesh.vertices[:, 0], mesh.vertices[lower[order], 0], mesh.vertices[lower[order], 1]
    )
    reach = np.exp(-(((mesh.vertices[:, 1] - seam) / 0.12) ** 2))
    wide = np.clip(1 - (np.abs(mesh.vertices[:, 0]) - 0.42) / 0.1, 0, 1)
    falls = -mesh.units["jawOpen"][:, 1] > 0.1
    shift = np.where(falls, 0.5, -0.5) * np.clip(at + 0.004, 0, None) * reach * wide
    body = (mesh.masks["lips"] > 0.02) | (mesh.masks["inside-mouth"] > 0.3) | (reach > 0.05)
    out = vertices.copy()
    out[:, 1] += (shift * (near & body)).astype(np.float32)
    return out
