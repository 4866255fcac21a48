// Something to look at: scripts under limits, at work.

const charge = `# Charges a customer, as if over the network.
customer="$1"
printf '\\033[36mcharging\\033[0m %s\\n' "$customer"
for i in 1 2 3; do
  echo "  attempt $i"
  sleep 0.$((RANDOM % 9 + 1))
done
if [ $((RANDOM % 8)) = 0 ]; then
  printf '\\033[31mcard declined\\033[0m\\n'
  exit 3
fi
printf '\\033[32mpaid\\033[0m\\n'
echo "{\\"customer\\": \\"$customer\\", \\"paid\\": true}"
`;

const rows = `import time


def main(rows: int = 3, format: str = "csv"):
    time.sleep(0.3)
    return [{"id": i, "name": f"row {i}", "amount": i * 12.5} for i in range(rows)]
`;

const code = (content, more = {}) => ({ type: 'rawscript', language: 'bash', content, input_transforms: {}, ...more });
const item = { input_transforms: { item: { type: 'javascript', expr: 'flow_input.iter.value' } } };

/** order is a flow with a branch, a loop and a step under a limit. */
const order = {
  path: 'f/shop/order',
  summary: 'Check, charge and ship an order',
  schema: { type: 'object', properties: { customer: { type: 'string', default: 'ann' } }, required: [] },
  value: {
    modules: [
      { id: 'a', summary: 'Read the order', value: code(`echo '["pen", "ink", "paper", "desk"]' > result.json`) },
      {
        id: 'b',
        summary: 'Big order?',
        value: {
          type: 'branchone',
          branches: [{ summary: 'more than three', expr: 'results.a.length > 3', modules: [{ id: 'c', summary: 'Give a discount', value: code('echo 5%') }] }],
          default: [{ id: 'd', summary: 'Full price', value: { type: 'identity' } }],
        },
      },
      {
        id: 'e',
        summary: 'For each item',
        value: {
          type: 'forloopflow',
          iterator: { type: 'javascript', expr: 'results.a' },
          parallel: true,
          modules: [
            { id: 'f', summary: 'Charge', value: code('item="$1"\necho "charging for $item"\nsleep 0.5\n', { ...item, concurrent_limit: 2, concurrency_time_window_s: 600, custom_concurrency_key: 'orders/$workspace' }) },
            { id: 'g', summary: 'Print a label', value: code('item="$1"\necho "label of $item"', item) },
          ],
        },
      },
      { id: 'h', summary: 'Say hello', value: { type: 'script', path: 'f/demo/hello', input_transforms: { name: { type: 'javascript', expr: 'flow_input.customer' } } } },
    ],
  },
};

/** furnish fills a server and returns the places to look at. */
export async function furnish(server) {
  await server.script({ path: 'f/billing/charge', summary: 'Charge a customer', content: charge, concurrent_limit: 3, concurrency_time_window_s: 10, concurrency_key: 'payments/$workspace' });
  await server.script({ path: 'f/reports/nightly', summary: 'Build the nightly report', content: 'sleep 1.$((RANDOM % 9))\necho done', labels: ['nightly'] });
  await server.script({ path: 'f/reports/export', summary: 'Export rows', language: 'python3', content: rows, concurrent_limit: 2 });
  const charges = [];
  for (let i = 1; i <= 24; i++) charges.push(await server.run('f/billing/charge', { customer: `customer ${i}` }));
  for (let i = 0; i < 10; i++) await server.run('f/reports/nightly');
  const exports = [];
  for (let i = 0; i < 6; i++) exports.push(await server.run('f/reports/export', { rows: 5 }));
  await server.run('f/demo/hello', { name: 'later' }, '?scheduled_in_secs=7200');
  const nobody = await server.run('f/demo/hello', { name: 'gpu' }, '?tag=gpu');
  await server.api('POST', 'w/main/flows/create', order);
  const flow = await server.api('POST', 'w/main/jobs/run/f/f/shop/order', {});

  await server.api('POST', 'w/main/variables/create', { path: 'f/billing/api_key', value: 'sk_live_51', is_secret: true, description: 'Of the payments provider' });
  await server.api('POST', 'w/main/variables/create', { path: 'f/billing/currency', value: 'EUR', is_secret: false, description: 'What customers are charged in' });
  await server.api('POST', 'w/main/resources/create', { path: 'f/reports/warehouse', resource_type: 'postgresql', value: { host: 'db.internal', password: '$var:f/billing/api_key' }, description: 'Read-only replica' });
  for (const [email, role] of [['ann@example.com', { is_admin: false }], ['bob@example.com', { operator: true }]]) {
    await server.api('POST', 'users/create', { email, password: 'something long' });
    await server.api('POST', 'w/main/workspaces/add_user', { email, ...role });
  }
  await server.api('POST', 'users/tokens/create', { label: 'reporting', scopes: ['jobs:read', 'jobs:run:scripts:f/reports/*'], workspace_id: 'main' });

  const seen = (text) => (page) => page.getByText(text).first().waitFor();
  return [
    { name: 'run-waiting', where: `run/${charges[23]}`, ready: (page) => page.locator('.slot.counted').first().waitFor() },
    { name: 'runs-concurrency', where: 'runs?key=payments%2Fmain&chart=concurrency', ready: (page) => page.waitForTimeout(12_000) },
    { name: 'group', where: 'limit?key=payments%2Fmain', ready: seen('Waiting line') },
    { name: 'limits', where: 'limits', ready: seen('payments/main') },
    { name: 'runs', where: 'runs', ready: seen('f/reports/export') },
    { name: 'run-no-worker', where: `run/${nobody}`, ready: seen('No living worker') },
    { name: 'run-result', where: `run/${exports[0]}`, ready: seen('row 3') },
    { name: 'run-log', where: `run/${charges[0]}`, ready: seen('attempt 3') },
    { name: 'script', where: 'script/f%2Freports%2Fexport', ready: (page) => page.getByRole('textbox', { name: 'Code' }).waitFor() },
    { name: 'script-limits', where: 'script/f%2Fbilling%2Fcharge?tab=settings', ready: seen('executions in any') },
    { name: 'scripts', where: 'scripts', ready: seen('Charge a customer') },
    { name: 'plan', where: 'plan', ready: seen('Starts over time') },
    { name: 'workers', where: 'workers', ready: seen('of 4') },
    { name: 'variables', where: 'values', ready: seen('f/billing/api_key') },
    { name: 'settings', where: 'settings', ready: seen('reporting') },
    { name: 'schedules', where: 'schedules', ready: seen('each_minute') },
    { name: 'run-flow', where: `run/${flow}`, ready: (page) => page.locator('[data-step-run="f"] [data-wait="limit"]').waitFor() },
    { name: 'flows', where: 'flows', ready: seen('Check, charge') },
    { name: 'flow', where: 'flow/f%2Fshop%2Forder?step=f', ready: (page) => page.getByRole('textbox', { name: 'item' }).waitFor() },
  ];
}
