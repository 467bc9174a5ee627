"""The whole contract of fulfillment providers, tried on the connector for files over SFTP."""

from __future__ import annotations

from hub.testing import FulfillmentProviderContract
from hub_3pl.sftp import SftpConnector
from hub_3pl.simulator_sftp import SftpWarehouse


class TestSftpContract(FulfillmentProviderContract):
    connector = SftpConnector
    simulator = SftpWarehouse
