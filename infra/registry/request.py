"""What clients of the registry send, and what of it is taken."""

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, Field

from schemas.compatibility import Level
from schemas.errors import Invalid

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"

T = TypeVar("T")
Json: TypeAlias = Any


class SchemaBody(BaseModel):
    """A schema as clients send it."""

    text: str = Field(alias="schema")
    schema_type: str | None = Field(None, alias="schemaType")
    references: list[Json] | None = None
    metadata: Json = None
    rule_set: Json = Field(None, alias="ruleSet")
    id: int | None = None
    version: int | None = None

    @property
    def avro(self) -> str:
        """The schema, when it is of the kind that we keep.

        Raises:
            Invalid: it asks for something that would be lost.
        """
        if (self.schema_type or "AVRO") != "AVRO":
            raise Invalid(f"Only AVRO schemas are kept here, not {self.schema_type}.", code="invalid_schema")
        if self.references or self.metadata or self.rule_set:
            raise Invalid(
                "References, metadata and rules are not kept here; write the schema out in full.", code="invalid_schema"
            )
        if (self.id or -1) > 0 or (self.version or -1) > 0:
            raise Invalid("Ids and versions are given by the registry.", code="not_permitted")
        return self.text


class LevelBody(BaseModel):
    """A compatibility level as clients send it."""

    compatibility: str | None = None

    @property
    def level(self) -> Level:
        """The level.

        Raises:
            Invalid: `invalid_level`.
        """
        try:
            return Level((self.compatibility or "").upper())
        except ValueError as error:
            raise Invalid(f"The compatibility level is one of {', '.join(Level)}.", code="invalid_level") from error


class Page(BaseModel):
    """Part of a list; a limit below one takes all."""

    offset: int = Field(0, ge=0)
    limit: int = -1

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """That part."""
        end = self.offset + self.limit if self.limit > 0 else None
        return items[self.offset : end]
