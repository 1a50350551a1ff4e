"""Where compiled programs are kept, and where not."""
import jax
import pytest

from launch.compile_cache import use_compile_cache


@pytest.mark.parametrize("backend, devices, kept", [("cpu", 1, True), ("cpu", 2, False), ("tpu", 8, True)])
def test_several_cpu_devices_compile_for_themselves(monkeypatch, tmp_path, backend, devices, kept):
    """A program of theirs that is read from the cache may wait for itself for ever."""
    said = {}
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    monkeypatch.setattr(jax.config, "update", said.__setitem__)
    use_compile_cache()
    folder = str(tmp_path / "jamflow" / "xla")
    assert said == ({"jax_compilation_cache_dir": folder} if kept else {"jax_enable_compilation_cache": False})
