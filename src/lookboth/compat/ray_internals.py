"""Environment variables of Ray that are not documented, or have another purpose. Seen to work with Ray 2.60."""

from secrets import token_hex

_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def quiet_environment() -> dict[str, str]:
    """Return environment variables that turn off usage statistics and the warnings of Ray's C++ side.

    Relies on `RAY_BACKEND_LOG_LEVEL`, read when Ray is imported.
    """
    return {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


def private_environment() -> dict[str, str]:
    """Return environment variables with which a Ray on this machine answers only this process and its workers.

    A client that reaches a Ray can run code in it. Ray therefore listens on 127.0.0.1 only, and asks for a key that is
    made here. Relies on `RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER`, which at 0 has this effect on every system, Linux included
    (tests/bulk/test_ray_is_private.py proves it), and on all of them being read when Ray is imported.
    """
    return {_LOOPBACK: "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_hex(32)}
