"""All faults, in the order that the schedule of rounds is drawn from: of processes, of the broker, of records."""

from tests.faults import of_broker, of_processes, of_records
from tests.faults.fault import DECLARED, Fault

FAULTS: dict[str, Fault] = {
    name: fault
    for module in (of_processes, of_broker, of_records)
    for name, fault in DECLARED.items()
    if fault.drive.__module__ == module.__name__
}
