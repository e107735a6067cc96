import type { Json, Network } from '../lint/documents.js'

/**
 * The same network as a list with one `chain`, which runs all plugins in one process; what the list says of itself
 * stays with the list.
 */
export function asChain({ config, plugins, name, cniVersion }: Network): Json {
  const { plugins: _, type: __, ...ofList } = config
  const members = plugins
    .filter(({ path }) => !path.includes('.'))
    .map(({ config: { name: ___, cniVersion: ____, ...rest } }) => rest)
  const capabilities = Object.assign({}, ...members.map((member) => member['capabilities'] ?? {}))
  const isList = config['plugins'] !== undefined
  return {
    ...(isList ? ofList : { cniVersion, name }),
    plugins: [{ type: 'chain', ...(Object.keys(capabilities).length > 0 ? { capabilities } : {}), plugins: members }],
  }
}
