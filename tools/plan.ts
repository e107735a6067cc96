import path from 'node:path'
import { type CommandCall, type Definition, Ended, fine, found, wrong } from './frame/command.js'
import type { Console } from './frame/console.js'
import { placeOf, readText, Unseen } from './frame/place.js'
import { visible } from './frame/visible.js'
import { type Json, type Network, parseDocument } from './lint/documents.js'
import { asChain } from './plan/chain.js'
import { standIn, standOf } from './plan/namespace.js'
import { type Plan, planOf } from './plan/steps.js'

/** `podwire plan FILE`: what the plugins of a network would do, without doing it. */
export default {
  name: 'plan',
  summary: 'show the commands that ADD or DEL of a whole network would run, and the result',
  details: [
    'It is the dry run of each plugin, one after the other, on this host as it is now. The commands are as a person would ' +
      "type them; $NETNS stands for the container's network namespace. What another suite's plugin does is not known: " +
      'it "executes PATH". Nothing is changed.',
    'As root the container is an empty namespace made for that; as another user it is the own one, whose interfaces may ' +
      'be in the way (--ifname), or the one that --netns names.',
  ],
  arguments: [{ words: '<file>', what: 'a configuration, a list, or a NetworkAttachmentDefinition' }],
  options: [
    { flags: '--verb <verb>', what: 'what is asked of the plugins', choices: ['ADD', 'DEL'], default: 'ADD' },
    { flags: '--container <id>', what: 'the container', default: 'container' },
    { flags: '--ifname <name>', what: "the container's interface", default: 'eth0' },
    { flags: '--netns <path>', what: "a container's namespace" },
    { flags: '--cni-args <args>', what: 'CNI_ARGS, such as IP=10.1.2.3', default: '' },
    { flags: '--runtime-config <json>', what: 'what the runtime gives by capabilities', default: '{}' },
    { flags: '--chain', what: 'print the network as a list with one chain instead, which starts once a container' },
  ],
  places: ['bin'],
  json: '{network, verb, steps: [{path, type, executes, commands, error}], result}',
  finds: 'a plugin would refuse',
  examples: [
    { line: 'podwire plan /etc/cni/net.d/10-net.conflist', what: 'shows what a new container would get' },
    {
      line: `podwire plan net.conflist --runtime-config '{"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}'`,
      what: 'shows what publishing a port takes',
    },
    { line: 'podwire plan net.conflist --chain >chained.conflist', what: 'writes the network as one chain' },
  ],
  run: async (call) => {
    const network = networkIn(call.words[0] ?? '')
    if (call.options['chain'] === true) {
      call.console.write(JSON.stringify(asChain(network), null, 2))
      return fine
    }
    const { plan, verb } = await plannedFor(network, call)
    if (call.asJson) call.console.json('plan', { network: network.name, verb, ...plan })
    else print(call.console, plan)
    return plan.steps.some(({ error }) => error !== undefined) ? found : fine
  },
} satisfies Definition

// --- internal

async function plannedFor(
  network: Network,
  { options, place, console }: CommandCall,
): Promise<{ plan: Plan; verb: 'ADD' | 'DEL' }> {
  const text = (name: string) => String(options[name] ?? '')
  const verb = options['verb'] === 'DEL' ? 'DEL' : 'ADD'
  const stand = typeof options['netns'] === 'string' ? standOf(options['netns']) : await standIn()
  if (!stand.isEmpty)
    console.warn('not as root: the own network namespace stands for the container, with what is in it')
  try {
    const plan = await planOf(network, {
      verb,
      container: text('container'),
      ifName: text('ifname'),
      stand,
      args: text('cniArgs'),
      bin: place.bin,
      runtimeConfig: runtimeConfigIn(text('runtimeConfig')),
    })
    return { plan, verb }
  } finally {
    stand.end()
  }
}

/** The one network that a file describes. @throws Ended */
function networkIn(file: string): Network {
  try {
    const text = readText(placeOf({}), path.resolve(file))
    if (text === undefined) throw new Ended(wrong, `there is no ${file}`)
    const { networks, findings } = parseDocument(file, text)
    const [network] = networks
    if (network) return network
    const [finding] = findings
    throw new Ended(wrong, finding ? `${file}:${finding.line}: ${finding.message}` : `${file} describes no network`)
  } catch (thrown) {
    if (thrown instanceof Unseen) throw new Ended(wrong, `${file} ${thrown.message}`)
    throw thrown
  }
}

function runtimeConfigIn(text: string): Json {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown
  }
  throw new Ended(wrong, '--runtime-config is no JSON object')
}

function print(console: Console, { steps, result }: Plan): void {
  for (const { path: place, type, executes, commands, error } of steps) {
    const title = `# ${[place, visible(type)].filter(Boolean).join(' ')}${executes ? `: executes ${visible(executes)}` : ''}`
    console.write(console.painted('bold', title))
    console.write(...commands.map(visible))
    if (error !== undefined)
      console.write(...error.split('\n').map((line) => console.painted('red', `# refuses: ${visible(line)}`)))
    else if (!executes && commands.length === 0) console.write('# nothing to do')
    console.write('')
  }
  if (result)
    console.write(console.painted('bold', '# the result'), ...JSON.stringify(result, null, 2).split('\n').map(visible))
}
