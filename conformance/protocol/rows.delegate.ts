import type { Call } from '../harness/plugin.js'
import { scriptDirectory } from '../harness/scripts.js'
import { type Answer, differing, own, type Row } from './row.js'

/** IPAM delegates that misbehave: shell scripts by name, put into a directory of CNI_PATH. */
export const delegates: Record<string, string> = {
  ok: 'exit 0',
  later: `[ "$CNI_COMMAND" = DEL ] || { echo '{"code":11,"msg":"later"}'; exit 3; }`,
  text: 'echo plain text; exit 1',
  mute: 'exit 2',
  stderr: 'echo serr >&2; exit 1',
  killed: 'kill -9 $$',
  empty: '[ "$CNI_COMMAND" = DEL ] || exit 0',
  braces: `[ "$CNI_COMMAND" = DEL ] || echo '{}'`,
  nothing: `[ "$CNI_COMMAND" = DEL ] || echo null`,
  errorWithSuccess: `[ "$CNI_COMMAND" = DEL ] || echo '{"code":7,"msg":"no"}'`,
  unknownVersion: `[ "$CNI_COMMAND" = DEL ] || echo '{"cniVersion":"9.9.9","ips":[{"address":"10.78.0.5/24"}]}'`,
  noPrefix: `[ "$CNI_COMMAND" = DEL ] || echo '{"cniVersion":"1.1.0","ips":[{"address":"10.78.0.5"}]}'`,
}

const call = (type: string): Partial<Call> => ({
  plugin: 'bridge',
  path: scriptDirectory,
  config: { cniVersion: '1.1.0', name: 'n', type: 'bridge', bridge: 'br0', ipam: { type } },
})

// The official library prints code 0 when a delegate dies without an error object; that is no code of the
// specification.
const death = (type: string, msg: string, mentions: string): Row => {
  const official: Answer = { is: 'error', code: 0, msg }
  return differing(`delegate ${type}`, call(type), 'code 0 means nothing; 107 says that the delegate failed', {
    official,
    podwire: { is: 'own', codes: [107], mentions },
  })
}

/** What becomes of an IPAM delegate that cannot be found, fails, or answers nonsense. */
export const delegateRows: Row[] = [
  own(
    'delegate not found',
    call('nosuch'),
    `failed to find plugin "nosuch" in path [${scriptDirectory}]`,
    [7, 107],
    'nosuch',
  ),
  own('delegate with a slash', call('a/b'), 'invalid plugin name: a/b', [7, 107], 'a/b'),
  {
    name: 'the error of a delegate is passed on as it is',
    call: call('later'),
    official: { is: 'error', code: 11, msg: 'later' },
    podwire: { is: 'error', code: 11, msg: 'later' },
  },
  death(
    'text',
    'netplugin failed but error parsing its diagnostic message "plain text\\n": invalid character \'p\' looking for beginning of value',
    'plain text',
  ),
  death('mute', 'netplugin failed with no error message: exit status 2', 'exit status 2'),
  death('stderr', 'netplugin failed: "serr\\n": exit status 1', 'serr'),
  death('killed', 'netplugin failed with no error message: signal: killed', 'SIGKILL'),
  death(
    'notExecutable',
    `netplugin failed with no error message: fork/exec ${scriptDirectory}/notExecutable: permission denied`,
    'notExecutable',
  ),
  own('delegate empty', call('empty'), 'failed to unmarshal raw result: unexpected end of JSON input', [107]),
  ...['braces', 'nothing', 'errorWithSuccess'].map((type) =>
    own(`delegate ${type}`, call(type), 'IPAM plugin returned missing IP config', [107]),
  ),
  own('delegate unknownVersion', call('unknownVersion'), 'unsupported CNI result version "9.9.9"', [107], '9.9.9'),
  own('delegate noPrefix', call('noPrefix'), 'invalid CIDR address: 10.78.0.5', [107], '10.78.0.5'),
]
