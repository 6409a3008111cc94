"""The shape of a product quantizer."""

from __future__ import annotations

from dataclasses import dataclass

MAX_CENTROIDS = 256  # a code is one unsigned byte


@dataclass(frozen=True, order=True)
class PqShape:
    """A product quantizer: vectors of `dim` floats, cut into `num_sub_vectors` equal parts of `sub_vector_dim` floats,
    each part coded by the nearest of `num_centroids` centroids.

    The literature's names: dim = D, num_sub_vectors = M, num_centroids = K, sub_vector_dim = dsub (Jégou, Douze &
    Schmid, "Product Quantization for Nearest Neighbor Search", 2011).

    Raises TypeError when a number is not an int, ValueError when it is out of range or M does not divide D.
    """

    dim: int
    num_sub_vectors: int
    num_centroids: int = MAX_CENTROIDS

    def __post_init__(self) -> None:
        for name in ("dim", "num_sub_vectors", "num_centroids"):
            value = getattr(self, name)
            if type(value) is not int:
                raise TypeError(f"PqShape: {name} must be an int, got {value!r} ({type(value).__name__})")
            if value < 1:
                raise ValueError(f"PqShape: {name} must be at least 1, got {value}")
        if self.num_centroids > MAX_CENTROIDS:
            raise ValueError(
                f"PqShape: num_centroids must be at most {MAX_CENTROIDS}, because a code is one byte; got "
                f"{self.num_centroids}"
            )
        if self.dim % self.num_sub_vectors:
            raise ValueError(
                f"PqShape: num_sub_vectors must divide dim exactly; {self.dim} / {self.num_sub_vectors} leaves "
                f"{self.dim % self.num_sub_vectors}"
            )

    @property
    def sub_vector_dim(self) -> int:
        """Floats in one sub-vector (dsub)."""
        return self.dim // self.num_sub_vectors

    @classmethod
    def of(cls, numbers: str) -> PqShape:
        """A shape from text like "128,16,256", in parentheses or not."""
        return cls(*(int(number) for number in numbers.strip("()").split(",")))

    @property
    def numbers(self) -> tuple[int, int, int]:
        """What it is built from."""
        return self.dim, self.num_sub_vectors, self.num_centroids

    @property
    def text(self) -> str:
        """What `of` reads."""
        return ",".join(map(str, self.numbers))

    def __str__(self) -> str:
        return f"({self.text})"
