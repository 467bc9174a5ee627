"""What a worker gives a connector that exchanges files: the server it names, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from uuid import UUID

import pytest

from hub.config import Settings
from hub.connector import ProviderCapabilities
from hub.errors import NotFound, Rejected
from hub.http import Exchange
from hub.jobs import Hub
from hub.jobs.shift import hang_up
from hub.plugins import Registry
from hub.store.connections import Credentials
from hub.store.database import Database
from hub.store.secrets import KeyRing, new_key
from hub.wakeup import SilentDoorbell
from hub_3pl.sftp import SftpConnector
from hub_3pl.shipbob import ShipBobConnector
from hub_3pl.simulator_sftp import SftpWarehouse


def a_hub(folder: Path, vendor: SftpWarehouse) -> Hub:
    key = new_key()
    settings = Settings(data_dir=folder, database_url="sqlite://", secret_keys=(key,))
    routed = replace(settings, routes=MappingProxyType(vendor.routes()))
    registry = Registry({"sftp": SftpConnector, "shipbob": ShipBobConnector}, ())
    return Hub(routed, Database(f"sqlite:///{folder / 'hub.db'}"), KeyRing([key]), registry, SilentDoorbell())


def test_a_worker_reaches_the_server_and_a_reader_reaches_nobody(tmp_path: Path) -> None:
    exchanges: list[Exchange] = []
    with SftpWarehouse() as vendor:
        hub = a_hub(tmp_path, vendor)
        settings = SftpConnector.settings_schema().load(vendor.settings())
        credentials = Credentials(settings, "made-by-the-hub", {}, {})
        caller = hub.caller(SftpConnector, credentials, UUID(int=1), UUID(int=2), on_exchange=exchanges.append)

        assert caller.check().name == "acme at files.warehouse.example"
        with pytest.raises(NotFound, match="upload a sample"):
            caller.sample_file("acknowledgements")
        vendor.put("/shipments/a.csv", b"reference,sku\n" + b"x" * 100_000)
        assert caller.sample_file("shipments")[:13] == b"reference,sku"
        assert len(caller.sample_file("shipments")) == 32 * 1024
        hang_up(caller)
        assert hub.reader(SftpConnector, credentials).context.files is None

    assert {each.method for each in exchanges} == {"LIST", "READ"}
    assert vendor.password not in repr(exchanges)
    hub.database.close()


def test_a_connector_without_files_gets_none_and_says_so(tmp_path: Path) -> None:
    with SftpWarehouse() as vendor:
        hub = a_hub(tmp_path, vendor)
        settings = {"token": "t", "channel_id": "", "environment": "production"}
        caller = hub.caller(ShipBobConnector, Credentials(settings, "", {}, {}), UUID(int=1), UUID(int=2))

        assert caller.context.files is None
        with pytest.raises(Rejected, match="exchanges no files"):
            caller.sample_file("shipments")
        hang_up(caller)
        hub.database.close()


def test_files_are_asked_for_no_faster_than_is_said() -> None:
    assert isinstance(SftpConnector.capabilities, ProviderCapabilities)
    assert (SftpConnector.capabilities.webhooks, SftpConnector.capabilities.min_poll_seconds) == (False, 60)
