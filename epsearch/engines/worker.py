"""The process that trains: `python -m epsearch.engines.worker FD`, at the other end of a driver's pipe.

Messages from the driver: first the study, then ("ready",), ("probe",), ("batches",) or ("trials", cells, their
checkpoints' files). Back come ("ready",), ("result", value), ("error", exception), and ("report", index, seed_index,
value), which is answered with whether to go on where the study has a pruner.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any


def main() -> None:
    """Serve one driver until it closes the pipe or dies."""
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        _serve(connection)
    except (EOFError, ConnectionError, KeyboardInterrupt):
        # The driver is gone, or has said that it is done.
        os._exit(0)


def _serve(connection: Connection[Any, Any]) -> None:
    config = connection.recv()
    from epsearch.errors import StudyError, UserError
    from epsearch.training.process import prepare_process

    prepare_process(config.training.threads)
    try:
        from epsearch.training.tasks import StudyTasks

        tasks = StudyTasks(config)
    except (UserError, StudyError) as error:
        connection.send(("error", error))
        return
    connection.send(("ready",))
    while True:
        kind, *arguments = connection.recv()
        try:
            if kind == "ready":
                connection.send(("result", None))
            elif kind == "probe":
                connection.send(("result", tasks.probe()))
            elif kind == "batches":
                connection.send(("result", tasks.batches_per_epoch()))
            else:

                def report(index: int, seed_index: int, value: float) -> bool:
                    connection.send(("report", index, seed_index, value))
                    # Without a pruner there is nothing to wait for: training does not stand still while the
                    # driver writes to its storage.
                    return config.engine.pruner == "none" or bool(connection.recv())

                connection.send(("result", tasks.trials(arguments[0], report, arguments[1])))
        except (UserError, StudyError) as error:
            connection.send(("error", error))
        except (EOFError, ConnectionError):
            raise
        except Exception as error:
            traceback.print_exc()
            connection.send(("error", StudyError(f"{type(error).__name__}: {error}")))


def _end_with(parent: int) -> None:
    """Training for a driver that was killed is in vain: end within a second of it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main()
