/** How bad a finding is. Notes do not count for the exit status. */
export type Severity = 'error' | 'warning' | 'note'

/** The rules, with what each looks for: SARIF lists them. */
export const rules = {
  'file-unreadable': 'A file that cannot be read.',
  'json-syntax': 'A file that is no JSON: runtimes refuse it.',
  'yaml-syntax': 'A file that is no YAML.',
  'not-a-configuration': 'A file that is neither a configuration nor a list of them.',
  extension: 'A file whose name lets runtimes take it for something else than it is, or for nothing.',
  name: 'A network name that is missing, or has characters that runtimes refuse.',
  'duplicate-name': 'Two files with one network name: leases are shared, and some runtimes take only the first.',
  'duplicate-key': 'A key that stands twice in one object: the last one counts.',
  type: 'A plugin without a type, or with one that is no name of a file.',
  'unknown-key': 'A key that the plugin does not know, and ignores.',
  'other-plugins-key': 'A key of another plugin, which this one ignores.',
  value: 'A value that the plugin refuses.',
  'cni-version': 'A cniVersion that is none, or that a plugin or a runtime does not know.',
  'version-needed': 'A key that only has an effect with a newer cniVersion.',
  capability: 'A capability that the plugin cannot take, or that it needs and does not declare.',
  order: 'A plugin that works on an interface before one makes it, or two that make the same.',
  hairpin: 'A bridge behind which published ports do not reach the container that publishes them from itself.',
  'bridge-shared': 'Two networks on one bridge with different subnets.',
  'subnet-overlap': 'A subnet that overlaps another network, a route, or those of Docker and libvirt.',
  'binary-missing': 'A plugin whose program is not there, or does not answer.',
  'binary-version': 'A cniVersion that the installed plugin does not know.',
  master: 'A link that the configuration names and the host does not have.',
  mtu: 'An MTU above that of the link below.',
  'plugin-folder': 'Plugins in the folder of a network: not every runtime loads them.',
  'load-order': 'What a runtime does with a file beside the others.',
} as const

export type Rule = keyof typeof rules

export interface Finding {
  readonly rule: Rule
  readonly severity: Severity
  readonly file: string
  /** From 1; absent where it is about the whole file. */
  readonly line?: number
  readonly column?: number
  /** The line as it stands in the file. */
  readonly shown?: string
  /** The place in the configuration, as plugins[1].mtu. */
  readonly path?: string
  readonly message: string
  readonly fix?: string
}
