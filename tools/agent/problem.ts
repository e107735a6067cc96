/** Something that a person should know of, and mend: it becomes an Event of the node's. */
export interface Problem {
  /** A word in camel case: what kind of thing it is. */
  readonly reason: Reason
  /** Tells it from others of its kind. */
  readonly key: string
  readonly text: string
}

export type Reason =
  | 'NotOnLink'
  | 'RouteTaken'
  | 'RangeRefused'
  | 'RouteRefused'
  | 'MasqueradeRefused'
  | 'NoPodCIDR'
  | 'PodCIDRChanged'
  | 'MTUChanged'
  | 'ConfigurationWrong'
  | 'ConflistRefused'
  | 'OtherConflist'
  | 'Prerequisite'
  | 'InstallFailed'
  | 'StatusRefused'
  | 'StateRefused'
  | 'NodeGarbled'
  | 'AddressRefused'
  | 'CollectionFailed'
  | 'Collected'
