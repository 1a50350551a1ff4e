"""The shards of a preparation on an Apache Beam runner: the same jobs, the same bytes.

    jamflow prepare clips.jsonl --out /shared/data/mine --beam "runner=FlinkRunner flink_master=host:8081 ..."

A job goes out whole and comes back as a file: what its shard holds is read from the shared folder, so a pipeline that is killed or
whose bundles are tried again changes nothing.
"""
from collections.abc import Sequence

from jamflow_jax.errors import InputError


def run_jobs(jobs: Sequence, options: list[str]) -> None:
    """Runs every job on the runner named by `options` (default: the direct runner). Raises InputError."""
    try:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise InputError("--beam needs apache-beam; pip install 'jamflow-jax[beam]'") from None
    try:
        with apache_beam.Pipeline(options=PipelineOptions(options)) as pipeline:
            spread = pipeline | apache_beam.Create(list(jobs), reshuffle=True)
            spread | "shards" >> apache_beam.Map(_run)
    except InputError:
        raise
    except Exception as error:  # of the runner: each has its own
        raise InputError(f"the Beam pipeline failed: {' '.join(str(error).split())[:300]}") from error


def _run(job) -> int:
    job.run()
    return job.number
