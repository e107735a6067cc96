import type { Call } from '../harness/plugin.js'
import { differing, literal, own, type Row, silence } from './row.js'

const portmap = (more: object = {}): Partial<Call> => ({
  plugin: 'portmap',
  config: { cniVersion: '1.1.0', name: 'n', type: 'portmap', ...more },
})

/** What plugins refuse that stand behind another one in a chain. */
export const chainedRows: Row[] = [
  own('portmap ADD unchained', portmap(), 'must be called as chained plugin', [7], 'prevResult'),
  own(
    'portmap ADD, prevResult of another family',
    portmap({ prevResult: { cniVersion: '0.4.0' } }),
    'failed to parse config: could not parse prevResult: could not parse prevResult: result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is "0.4.0"',
    [7],
    'prevResult.cniVersion',
  ),
  own(
    'portmap ADD, prevResult is an array',
    portmap({ prevResult: [] }),
    'failed to parse config: failed to parse network configuration: json: cannot unmarshal array into Go struct field PortMapConf.NetConf.prevResult of type map[string]interface {}',
    [7],
    'prevResult',
  ),
  differing(
    'portmap ADD, prevResult.ips holds null',
    portmap({ prevResult: { ips: [null] } }),
    'null entries are refused; the official plugin crashes',
    {
      official: { is: 'crash' },
      podwire: { is: 'own', codes: [7], mentions: 'prevResult.ips[0]' },
    },
  ),
  differing(
    'portmap ADD, prevResult.ips holds no address',
    portmap({ prevResult: { ips: [{}] } }),
    'an address is required; the official plugin prints <nil>',
    {
      official: { is: 'result' },
      podwire: { is: 'own', codes: [7], mentions: 'prevResult.ips[0].address' },
    },
  ),
  own(
    'portmap ADD, capabilities is an array',
    portmap({ capabilities: ['x'], prevResult: {} }),
    'failed to parse config: failed to parse network configuration: json: cannot unmarshal array into Go struct field PortMapConf.NetConf.capabilities of type map[string]bool',
    [7],
    'capabilities',
  ),
  differing(
    'portmap GC, attachments of a wrong type',
    { ...portmap({ 'cni.dev/valid-attachments': 'x' }), command: 'GC' },
    'podwire acts on the list, so it must be able to read it; the official GC does nothing',
    { official: silence, podwire: { is: 'own', codes: [7], mentions: 'cni.dev/valid-attachments' } },
  ),
  literal(
    'firewall ADD, version it does not have',
    { plugin: 'firewall', config: { cniVersion: '0.3.1', name: 'n', type: 'firewall' } },
    1,
    'incompatible CNI versions',
    'config is "0.3.1", plugin supports ["0.4.0" "1.0.0" "1.1.0"]',
  ),
  differing(
    'bandwidth ADD, no limits and no prevResult',
    { plugin: 'bandwidth', config: { cniVersion: '1.1.0', name: 'n', type: 'bandwidth' } },
    'an error instead of a crash',
    { official: { is: 'crash' }, podwire: { is: 'own', codes: [7], mentions: 'prevResult' } },
  ),
]
