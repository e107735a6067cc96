/** Calls one plugin the way a runtime does: CNI_* variables, the configuration on stdin. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Json, RecordedCall } from './samples.js'

/** What a plugin answered. Output that is not JSON stays a string, as in the samples. */
export type Answer = { exitCode: number | null; stdout: Json; stderr: string }

function parsed(output: string): Json {
  try {
    return JSON.parse(output)
  } catch {
    return output
  }
}

/** Runs the call's plugin from the directory with nothing in its environment but the call's variables and a PATH. */
export async function invoke(directory: string, call: RecordedCall): Promise<Answer> {
  const env = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    CNI_COMMAND: call.cmd,
    CNI_CONTAINERID: call.id,
    CNI_NETNS: call.netns,
    CNI_IFNAME: call.ifname,
    CNI_ARGS: call.args,
    CNI_PATH: call.path,
  }
  const plugin = spawn(join(directory, call.type), { env, stdio: 'pipe' })
  const ended = new Promise<number | null>((resolve, reject) => {
    plugin.once('error', reject)
    plugin.once('close', resolve)
  })
  // A plugin may end without reading its input; what it answered says more than the broken pipe.
  plugin.stdin.on('error', () => {})
  plugin.stdin.end(JSON.stringify(call.stdin))
  const [stdout, stderr, exitCode] = await Promise.all([text(plugin.stdout), text(plugin.stderr), ended])
  return { exitCode, stdout: parsed(stdout), stderr }
}
