from tests.threads import one_thread as one_thread  # noqa: PLC0414 - a fixture
