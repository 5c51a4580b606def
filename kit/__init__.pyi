# Types of what `__getattr__` of __init__.py brings.
from kit.api import Project as Project
from kit.api import open as open
from kit.api import stop_after as stop_after
from kit.errors import ArchiveError as ArchiveError
from kit.errors import Busy as Busy
from kit.errors import CredentialsError as CredentialsError
from kit.errors import DamagedStore as DamagedStore
from kit.errors import DataError as DataError
from kit.errors import ImageError as ImageError
from kit.errors import KitError as KitError
from kit.errors import Mismatch as Mismatch
from kit.errors import MissingPackage as MissingPackage
from kit.errors import MissingStep as MissingStep
from kit.errors import NoPermission as NoPermission
from kit.errors import NotFinished as NotFinished
from kit.errors import NotFound as NotFound
from kit.errors import PredictionsError as PredictionsError
from kit.errors import QuotaReached as QuotaReached
from kit.errors import RemoteError as RemoteError
from kit.errors import RemoteUnavailable as RemoteUnavailable
from kit.errors import RulesNotAccepted as RulesNotAccepted
from kit.errors import StoreError as StoreError
from kit.errors import SubmissionError as SubmissionError
from kit.errors import TableError as TableError
from kit.errors import TrainingError as TrainingError
from kit.errors import UnknownName as UnknownName
from kit.errors import UsageError as UsageError

__version__: str
__all__: list[str]
