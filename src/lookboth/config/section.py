"""The base class of recipe sections: unknown keys are errors, and values are immutable."""

from typing import get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Section(BaseModel):
    """A section of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _keep_booleans_apart(cls, value: object, info: ValidationInfo) -> object:
        """Refuse true and false where a number is expected; pydantic would convert them to 1 and 0."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        held = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(one, bool) for one in held) and bool not in (annotation, *get_args(annotation)):
            raise ValueError("true and false are not allowed for this key")
        return value
